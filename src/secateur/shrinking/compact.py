"""Channels really removed: a smaller network with the same outputs."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from secateur.problem import Input, preserved_rng
from secateur.pruning import check_plain
from secateur.shrinking.channels import (
    Channels,
    Needs,
    constant_layers,
    constant_values,
    find_channels,
    fixed_values,
    fold_constants,
    jointly,
    needed,
    put_constant,
    settings_of,
)
from secateur.shrinking.compaction import Compaction, record
from secateur.shrinking.cutting import cut
from secateur.shrinking.names import named
from secateur.shrinking.verify import check_same

_TRIES = 100


def compact(
    model: nn.Module,
    example: Input,
    *,
    round_to: int = 1,
    optimizer: Optimizer | None = None,
    tolerance: float = 1e-5,
) -> nn.Module:
    """A smaller copy of ``model`` that computes the same: every channel that no output depends on is removed.

    A channel goes when all that reads it has zero weights, or when it is constant; constants are folded into biases,
    BatchNorm, or, where padding makes the border differ, into one channel. Layers that give nothing but constants,
    such as those of a dead residual branch, are replaced. Inputs and outputs of the network stay as they are, and so
    does every channel that an unknown operation or the user's own code needs; :func:`secateur.compaction` says what.

    Args:
        model: A plain module (``fit`` has returned).
        example: What it takes, with a batch dimension.
        round_to: Channels left along an axis are filled up to a multiple of this with the strongest that could go.
        optimizer: Its parameters and their state are exchanged for those of the copy, so that training goes on.
        tolerance: Largest difference of an output, computed in float64, relative to its largest value.

    Raises:
        ValueError: If the model cannot be traced, an input of a task is missing, or the copy does not compute the same; the
            message names the layer.
    """
    if round_to < 1:
        raise ValueError(f"compact: round_to is {round_to}; it must be at least 1.")
    check_plain(model, "compact")
    _check_reached(model, example)
    pinned: dict[str, str] = {}
    for _ in range(_TRIES):
        small, made = _compacted(model, example, round_to, pinned)
        failure = check_same(model, small, example, tolerance)
        if failure is None:
            record(small, made)
            if optimizer is not None:
                _exchange(optimizer, model, small, made)
            return small
        path, reason, error = failure
        if path in pinned or error is None:  # pinning did not help, or would not
            raise ValueError(
                f"compact: the smaller network does not compute the same at layer {path!r} ({reason}); please report "
                "it with the code of that layer."
            )
        kind = type(small.get_submodule(path))
        for name, module in model.named_modules():  # its like would fail alike
            if type(module) is kind:
                pinned[name] = f"the code of {kind.__name__} needs its channels as they are ({reason})"
    raise ValueError(f"compact: gave up after {_TRIES} tries; the code of {sorted(pinned)} fixes the sizes.")


def _compacted(
    model: nn.Module, example: Input, round_to: int, pinned: Mapping[str, str]
) -> tuple[nn.Module, Compaction]:
    small = copy.deepcopy(model)
    channels = find_channels(small, example, pinned)
    state = named(small)
    strength = _strength(channels, state)
    fixed, _ = fixed_values(channels.nodes, state)
    values = constant_values(channels.nodes, state, fixed)
    biases = fold_constants(small, channels.nodes, values)
    needs = needed(channels.nodes, values, fixed, state)
    constants = constant_layers(small, channels.nodes, values, needs)
    gone = {f"{path}.weight" for path in constants}
    keep = _alive(channels, needs)
    _complete(channels, keep, strength, gone, round_to)

    kept: dict[str, dict[int, Tensor]] = {}
    for (name, axis), ids in channels.axes.items():
        kept.setdefault(name, {})[axis] = ((ids < 0) | keep[ids.clamp(min=0)]).nonzero().flatten()
    for path in biases:
        kept[f"{path}.bias"] = {0: kept[f"{path}.weight"][0]} if 0 in kept.get(f"{path}.weight", {}) else {}
    for path, value in constants.items():
        outputs = kept.get(f"{path}.weight", {}).get(0)
        put_constant(small, path, value if outputs is None or value is None else value[outputs])
    names = {name for name, _ in [*small.named_parameters(), *small.named_buffers()]}
    cut(small, {name: axes for name, axes in kept.items() if name in names})
    indices = {n: {a: i.tolist() for a, i in axes.items()} for n, axes in kept.items() if n in names}
    settings = {path: settings_of(small.get_submodule(path)) for path in constants}
    made = Compaction(
        {n: axes for n, axes in indices.items() if axes},
        settings,
        [path for path in biases if path not in constants],
        dict(channels.pins),
        (channels.count, int(keep.sum())),
    )
    return small, made


def _check_reached(model: nn.Module, example: Input) -> None:
    """Where each task has an input of its own, a task left out would keep layers that no longer fit the shared ones."""
    if isinstance(example, Tensor):
        return
    copied = copy.deepcopy(model).eval()
    called: set[str] = set()
    for name, module in copied.named_modules():
        module.register_forward_pre_hook(lambda *_, name=name: called.add(name))
    with torch.no_grad(), preserved_rng():
        outputs: Any = copied(example)
    if not isinstance(outputs, Mapping) or set(outputs) != set(example):
        return
    inside = [n for n, p in model.named_parameters() if p.dim() > 1 and "." in n]
    left = [n for n in inside if not any(f"{n}.".startswith(f"{module}.") for module in called if module)]
    if left:
        raise ValueError(
            f"compact: with inputs for {sorted(example)} alone, {left[0]} and {len(left) - 1} more weights are not reached; "
            "give an input for every task of the network."
        )


def _strength(channels: Channels, state: Mapping[str, Tensor]) -> Tensor:
    """Sum of squares of all weights of each label, (labels,)."""
    strength = torch.zeros(max(1, channels.count), dtype=torch.float64)
    for (name, axis), ids in channels.axes.items():
        value = state[name].detach().cpu()
        if value.is_floating_point() and value.dim() > 1:
            square = value.double().square().movedim(axis, 0).flatten(1).sum(1)
            strength.index_add_(0, ids.clamp(min=0), torch.where(ids < 0, 0.0, square))
    return strength


def _alive(channels: Channels, needs: Needs) -> Tensor:
    """Which labels an output depends on, (labels,)."""
    alive = torch.zeros(max(1, channels.count), dtype=torch.bool)
    for node in channels.nodes:
        need = needs.of.get(node)
        if need is None or node.name not in channels.labels:
            continue
        for labels, part in zip(
            channels.labels[node.name], need if isinstance(need, list) else [need], strict=True
        ):
            if part is not None:
                a, b = jointly([labels, part], labels.shape)
                alive[a[b & (a >= 0)]] = True
    return alive


def _complete(channels: Channels, keep: Tensor, strength: Tensor, gone: set[str], round_to: int) -> None:
    """Keeps more where an axis would be left empty or odd, the strongest first."""
    changed = True
    while changed:
        changed = False
        for (name, axis), ids in channels.axes.items():
            if name in gone and axis != 0:
                continue
            left = int(((ids < 0) | keep[ids.clamp(min=0)]).sum())
            target = min(ids.numel(), -(-max(1, left) // round_to) * round_to)
            candidates = torch.unique(ids[(ids >= 0) & ~keep[ids.clamp(min=0)]])
            for label in candidates[strength[candidates].argsort(descending=True)].tolist():
                if left >= target:
                    break
                keep[label] = changed = True
                left += int((ids == label).sum())


def _exchange(optimizer: Optimizer, model: nn.Module, small: nn.Module, made: Compaction) -> None:
    """Lets the optimizer step the parameters of ``small``; state of a weight's shape is cut like the weight."""
    new = dict(small.named_parameters())
    names = {id(p): name for name, p in model.named_parameters()}
    for group in optimizer.param_groups:
        exchanged: list[Any] = []
        for old in group["params"]:
            name = names.get(id(old))
            if name is None:
                exchanged.append(old)
                continue
            state = optimizer.state.pop(old, None)
            if name not in new:
                continue
            exchanged.append(new[name])
            if state:
                optimizer.state[new[name]] = {
                    key: _sliced(v, old, made.kept.get(name, {})) for key, v in state.items()
                }
        group["params"] = exchanged


def _sliced(value: Any, like: Tensor, axes: Mapping[int, list[int]]) -> Any:
    if not isinstance(value, Tensor) or value.shape != like.shape:
        return value
    for axis, indices in axes.items():
        value = value.index_select(axis, torch.tensor(indices, device=value.device))
    return value
