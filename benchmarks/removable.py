"""What Torch-Pruning can remove from public networks, and how much of it compact removes.

    python benchmarks/removable.py            all, each in a process of its own
    python benchmarks/removable.py timm/dla34

Of every group of channels that Torch-Pruning finds, a random half is made dead (zero). A group counts where the network
that Torch-Pruning cuts runs and computes what the dead one does; of those together, the parameters that Torch-Pruning
removes are compared with those that compact removes. It needs timm, segmentation-models-pytorch and transformers; no
weights are downloaded. Writes docs/results/removable.json; networks that are in it are not run again.
"""

from __future__ import annotations

import argparse
import copy
import importlib.metadata
import json
import multiprocessing
import resource
import signal
import time
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from removable_networks import networks
from secateur import compact, compaction
from secateur.runs.hardware import hardware

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results" / "removable.json"
LIBRARIES = ("torch", "torchvision", "torch-pruning", "timm", "segmentation-models-pytorch", "transformers")
SEED = 0
Cut = tuple[
    str, list[int], list[tuple[str, int, list[int]]]
]  # root, its channels, and (weight, axis, indices)


def main() -> None:
    """Runs all that is not in the file yet, or the one that is named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="of networks; all where none is given")
    parser.add_argument("--seconds", type=int, default=600, help="of processor time, for one network")
    options = parser.parse_args()
    missing = [name for name in LIBRARIES if not _version(name)]
    if missing:
        raise SystemExit(f"This needs {', '.join(missing)}; install with: pip install {' '.join(missing)}")
    for name in LIBRARIES:
        importlib.import_module(name.replace("-", "_"))
    made: dict[str, Any] = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {"networks": {}}
    made |= {
        "command": "python benchmarks/removable.py",
        "seed": SEED,
        "hardware": hardware(torch.device("cpu")),
    }
    made["versions"] = {name: _version(name) for name in LIBRARIES}
    for name in options.names or networks():
        if options.names or name not in made["networks"]:
            made["networks"][name] = _apart(name, options.seconds)
            RESULTS.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _apart(name: str, seconds: int) -> dict[str, Any]:
    """Measured in a process of its own, which has what was imported here."""
    context = multiprocessing.get_context("fork")
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_sent, args=(name, seconds, theirs))
    process.start()
    theirs.close()
    try:
        return mine.recv()
    except EOFError:
        process.join()
        slow = process.exitcode == -signal.SIGXCPU
        return {
            "outcome": "not measured",
            "reason": f"{seconds} s" if slow else f"it ended with {process.exitcode}",
        }
    finally:
        process.kill()
        process.join()


def _sent(name: str, seconds: int, end: Connection) -> None:
    used = int(time.process_time())
    resource.setrlimit(resource.RLIMIT_CPU, (used + seconds, used + seconds + 5))
    try:
        end.send(measured(name))
    except Exception as error:  # of the libraries
        end.send({"outcome": "not measured", "reason": f"{type(error).__name__}: {error}"[:300]})


@torch.no_grad()
def measured(name: str) -> dict[str, Any]:
    """Outcome, parameters before and removed by each, and what compact says of the rest."""
    warnings.simplefilter("ignore")
    torch.manual_seed(SEED)
    model, x = networks()[name]()
    model = _lively(model.eval()).double()
    x = _double(x)
    found: dict[str, Any] = {"parameters": _size(model)}
    cuts = _groups(model, x)
    found["groups"] = len(cuts)
    kept = _possible(model, x, cuts)
    found["possible"] = len(kept)
    if not kept:
        return found | {"outcome": "nothing to remove"}
    dead = _dead(model, kept)
    found["theirs"] = _size(model) - _size(_pruned(dead, x, kept))
    begin = time.process_time()
    try:
        small = compact(dead, x)
    except ValueError as error:
        return found | {"outcome": "refused", "reason": str(error)[:500]}
    except Exception as error:
        return found | {"outcome": "crashed", "reason": f"{type(error).__name__}: {error}"[:500]}
    found["seconds"] = round(time.process_time() - begin, 1)
    found["ours"] = _size(model) - _size(small)
    found["share"] = round(min(1.0, found["ours"] / found["theirs"]), 4)
    y = _other(x)
    exact = _same(_outputs(dead, y), _outputs(small, y))
    record = compaction(small)
    assert record is not None
    found["pinned"] = dict(sorted(record.pinned.items(), key=lambda item: -item[1])[:8])
    return found | {"outcome": "exact" if exact else "wrong"}


def _groups(model: nn.Module, x: Any) -> list[Cut]:
    """Torch-Pruning's groups, with a random half of the channels of each; the same half in each group of a convolution."""
    graph = _graph(model, x)
    names: dict[Any, str] = {m: n for n, m in model.named_modules()} | {
        p: n for n, p in model.named_parameters()
    }
    draw, found = torch.Generator().manual_seed(SEED), list[Cut]()
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


def _possible(model: nn.Module, x: Any, cuts: list[Cut]) -> list[Cut]:
    """Of the groups those that Torch-Pruning cuts so that the network still computes what the dead one does."""
    if _works(model, x, cuts[:-1]):  # the last layer gives the outputs
        return cuts[:-1]
    other = copy.deepcopy(model)
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
                expected = _outputs(_dead(model, [cut], other), x)
                good = graph.check_pruning_group(group)
                group.prune()
                good = good and _same(expected, _outputs(other, x))
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
    found: list[Cut] = []
    for cut in kept:
        found += [cut] if _works(model, x, [*found, cut]) else []
    return found


def _contents(module: Any) -> dict[str, Any]:
    """What a module holds, its own dictionaries and lists copied."""
    return {k: v.copy() if isinstance(v, (dict, list)) else v for k, v in vars(module).items()}


def _works(model: nn.Module, x: Any, cuts: list[Cut]) -> bool:
    try:
        dead = _dead(model, cuts)
        return _same(_outputs(dead, x), _outputs(_pruned(dead, x, cuts), x))
    except Exception:
        return False


def _dead(model: nn.Module, cuts: list[Cut], other: nn.Module | None = None) -> nn.Module:
    """A copy, or ``other``, in which the groups are zero."""
    other = copy.deepcopy(model) if other is None else other
    state = dict(other.named_parameters())
    for _, _, zeros in cuts:
        for name, axis, indices in zeros:
            state[name].data.index_fill_(axis, torch.tensor(indices), 0.0)
    return other


def _pruned(dead: nn.Module, x: Any, cuts: list[Cut]) -> nn.Module:
    other = copy.deepcopy(dead)
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


def _lively(model: nn.Module) -> nn.Module:
    """Statistics and scales as after a training, so that nothing is dead by its initial value."""
    draw = torch.Generator().manual_seed(SEED)
    for name, value in [*model.named_parameters(), *model.named_buffers()]:
        if "running_var" in name:
            value.data.uniform_(0.5, 1.5, generator=draw)
        elif "running_mean" in name:
            value.data.normal_(0, 0.1, generator=draw)
        elif value.is_floating_point() and (value.dim() == 1 or not value.any()):
            value.data += 0.1 * torch.randn(value.shape, generator=draw)
    return model


def _outputs(model: nn.Module, x: Any) -> list[Tensor]:
    found = model(x)
    values = found.values() if isinstance(found, dict) else [found] if isinstance(found, Tensor) else found
    return [value.double() for value in values]


def _same(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(
        p.shape == q.shape and bool((p - q).abs().max() <= 1e-6 * p.abs().max())
        for p, q in zip(a, b, strict=True)
    )


def _size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def _double(x: Any) -> Any:
    if isinstance(x, dict):
        return {key: _double(value) for key, value in x.items()}
    return x.double() if x.is_floating_point() else x


def _other(x: Any) -> Any:
    if isinstance(x, dict):
        return {key: _other(value) for key, value in x.items()}
    return torch.randn_like(x) if x.is_floating_point() else x.flip(1)


if __name__ == "__main__":
    main()
