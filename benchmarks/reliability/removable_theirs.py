"""Torch-Pruning's side of removable.py: its groups, which of them it cuts exactly, and the network that it leaves."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from secateur.shrinking.copying import copied

Cut = tuple[
    str, list[int], list[tuple[str, int, list[int]]]
]  # root, its channels, and (weight, axis, indices)


def groups(model: nn.Module, x: Any, seed: int) -> list[Cut]:
    """Torch-Pruning's groups, with a random half of the channels of each; the same half in each group of a convolution."""
    graph = _graph(model, x)
    names: dict[Any, str] = {m: n for n, m in model.named_modules()} | {
        p: n for n, p in model.named_parameters()
    }
    draw, found = torch.Generator().manual_seed(seed), list[Cut]()
    ignored: list[nn.Module] = []
    for full in graph.get_all_groups(
        ignored_layers=ignored, root_module_types=[nn.modules.conv._ConvNd, nn.Linear]
    ):
        root = full[0].dep.target.module
        several = [
            int(d.target.module.groups)
            for d, _ in full
            if isinstance(d.target.module, nn.modules.conv._ConvNd)
        ]
        blocks = max([g for g in several if g < len(full[0].idxs)] or [1])
        size = len(full[0].idxs) // blocks
        if size < 2:
            continue
        dead = torch.randperm(size, generator=draw)[: size // 2]
        chosen = sorted(int(d) + b * size for b in range(blocks) for d in dead)
        pruner = graph.get_pruner_of_module(root)
        group = graph.get_pruning_group(root, pruner.prune_out_channels, chosen)
        zeros: list[tuple[str, int, list[int]]] = []
        for dependency, indices in group:
            target = dependency.target.module
            if target not in names:
                continue
            inside = graph.is_in_channel_pruning_fn(dependency.handler)
            zeros += _slices(target, names[target], inside, [int(i) for i in indices], dependency.target)
        found.append((names[root], chosen, zeros))
    return found


def _graph(model: nn.Module, x: Any) -> Any:
    import torch_pruning as tp

    with torch.enable_grad():
        return tp.DependencyGraph().build_dependency(
            model, example_inputs=x, forward_fn=lambda m, given: m(given), verbose=False
        )


def _slices(
    target: Any, name: str, inside: bool, indices: list[int], node: Any
) -> list[tuple[str, int, list[int]]]:
    if isinstance(target, nn.Parameter):
        return [(name, node.pruning_dim % target.dim(), indices)]
    found: list[tuple[str, int, list[int]]] = []
    for kind, value in target.named_parameters(recurse=False):
        if isinstance(target, nn.modules.conv._ConvNd):
            axis = int(inside) if not target.transposed else int(not inside)
            if kind == "weight" and target.groups == 1:
                found.append((f"{name}.weight", axis, indices))
            elif (kind == "weight" and not target.transposed and not inside) or (
                kind == "bias" and not inside
            ):
                found.append((f"{name}.{kind}", 0, indices))
        elif isinstance(target, nn.Embedding):
            found.append((f"{name}.weight", 1, indices))
        elif value.dim() > 1 and isinstance(target, nn.Linear):
            found.append((f"{name}.{kind}", int(inside), indices))
        elif (
            not (inside and isinstance(target, nn.Linear))
            and value.dim() == 1
            and value.numel() > max(indices)
        ):
            found.append((f"{name}.{kind}", 0, indices))
    return found


def possible(model: nn.Module, x: Any, cuts: list[Cut]) -> list[Cut]:
    """Of the groups those that Torch-Pruning cuts so that the network still computes what the dead one does."""
    if _works(model, x, cuts[:-1]):  # the last layer gives the outputs
        return cuts[:-1]
    other = copied(model)
    graph, modules = _graph(other, x), dict(other.named_modules())
    kept: list[Cut] = []
    for cut in cuts:
        group = _group(graph, modules, cut)
        targets = [dependency.target.module for dependency, _ in group]
        if any(isinstance(target, nn.Parameter) for target in targets):
            good = _works(model, x, [cut])
        else:
            before = {target: _contents(target) for target in targets}
            try:
                expected = outputs(dead_copy(model, [cut], other), x)
                good = graph.check_pruning_group(group)
                group.prune()
                good = good and same(expected, outputs(other, x))
            except Exception:
                good = False
            for target, contents in before.items():
                target.__dict__.clear()
                target.__dict__.update(contents)
            for name, _, _ in cut[2]:
                other.get_parameter(name).data.copy_(model.get_parameter(name))
        kept += [cut] if good else []
    if _works(model, x, kept):
        return kept
    return _together(model, x, [], kept)


def _together(model: nn.Module, x: Any, found: list[Cut], more: list[Cut]) -> list[Cut]:
    """``found`` and those of ``more`` that can be cut along with it; halves are tried before single ones."""
    if not more or _works(model, x, [*found, *more]):
        return [*found, *more]
    if len(more) == 1:
        return found
    half = len(more) // 2
    return _together(model, x, _together(model, x, found, more[:half]), more[half:])


def halved(model: nn.Module, seed: int) -> nn.Module:
    """A copy in which a random half of what each layer reads is dead, whatever Torch-Pruning says of it."""
    other, draw, seen = copied(model), torch.Generator().manual_seed(seed), set[nn.Parameter]()
    for module in other.modules():
        weight = getattr(module, "weight", None)
        if (
            not isinstance(weight, nn.Parameter)
            or weight.dim() < 2
            or weight in seen
            or isinstance(module, nn.Embedding)
        ):
            continue
        first = type(module).__name__ == "Conv1D" or getattr(module, "transposed", False)
        axis = 0 if first else 1
        dead = torch.randperm(weight.shape[axis], generator=draw)[: weight.shape[axis] // 2]
        weight.data.index_fill_(axis, dead, 0.0)
        seen.add(weight)
    return other


def _contents(module: Any) -> dict[str, Any]:
    """What a module holds, its own dictionaries and lists copied."""
    return {k: v.copy() if isinstance(v, (dict, list)) else v for k, v in vars(module).items()}


def _works(model: nn.Module, x: Any, cuts: list[Cut]) -> bool:
    try:
        dead = dead_copy(model, cuts)
        return same(outputs(dead, x), outputs(pruned(dead, x, cuts), x))
    except Exception:
        return False


def dead_copy(model: nn.Module, cuts: list[Cut], other: nn.Module | None = None) -> nn.Module:
    """A copy, or ``other``, in which the groups are zero."""
    other = copied(model) if other is None else other
    state = dict(other.named_parameters())
    for _, _, zeros in cuts:
        for name, axis, indices in zeros:
            state[name].data.index_fill_(axis, torch.tensor(indices), 0.0)
    return other


def pruned(dead: nn.Module, x: Any, cuts: list[Cut]) -> nn.Module:
    """A copy that Torch-Pruning has cut."""
    other = copied(dead)
    graph, modules = _graph(other, x), dict(other.named_modules())
    for cut in cuts:
        group = _group(graph, modules, cut)
        if not graph.check_pruning_group(group):
            raise ValueError(cut[0])
        group.prune()
    return other


def _group(graph: Any, modules: dict[str, nn.Module], cut: Cut) -> Any:
    layer = modules[cut[0]]
    return graph.get_pruning_group(layer, graph.get_pruner_of_module(layer).prune_out_channels, cut[1])


def outputs(model: nn.Module, x: Any) -> list[Tensor]:
    """The tensors that a network gives."""
    found = model(x)
    values = found.values() if isinstance(found, dict) else [found] if isinstance(found, Tensor) else found
    return [value.double() for value in values]


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    """Whether they are equal to 1e-6 of what they differ from one sample to the other, however large they are."""
    return all(
        p.shape == q.shape and bool((p - q).abs().max() <= 1e-6 * _change(p) + 1e-13 * p.abs().max())
        for p, q in zip(a, b, strict=True)
    )


def _change(x: Tensor) -> Tensor:
    return (x - x.flip(0)).abs().max() if x.dim() and len(x) > 1 else x.abs().max()
