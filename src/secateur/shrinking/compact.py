"""Channels really removed: a smaller network with the same outputs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from secateur.problem import Call, Input, called, preserved_rng, uncalled
from secateur.pruning import check_done
from secateur.shrinking.channels import (
    Channels,
    Needs,
    Node,
    constant_layers,
    constant_outputs,
    constant_values,
    find_channels,
    fixed_values,
    fold_constants,
    group_counts,
    needed,
    put_constant,
    settings_of,
    trace,
    training_nodes,
    zeros_alone,
)
from secateur.shrinking.compaction import Compaction, record
from secateur.shrinking.copying import copied, narrowed, plain, widened
from secateur.shrinking.cutting import cut
from secateur.shrinking.names import named
from secateur.shrinking.optimizers import exchange
from secateur.shrinking.parting import Run, parting, removed_above, watched
from secateur.shrinking.remaining import alive, complete, strengths
from secateur.shrinking.verify import Reference


def compact(
    model: nn.Module,
    example: Input,
    *,
    round_to: int = 1,
    optimizer: Optimizer | None = None,
    tolerance: float = 1e-5,
    call: Call | None = None,
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
        call: How the model is called where ``model(example)`` does not do, as in a :class:`secateur.Problem`.

    Raises:
        ValueError: If the model cannot be traced, an input of a task is missing, or the copy does not compute the same; the
            message names the layer.
    """
    if round_to < 1:
        raise ValueError(f"compact: round_to is {round_to}; it must be at least 1.")
    check_done(model, "compact")
    whole, baked = plain(model)
    whole = called(whole, call)
    _check_reached(whole, example)
    nodes = trace(whole, example)
    hidden, unseen = training_nodes(whole, example, nodes)
    reference = Reference(whole, example, tolerance)
    dtypes = {n: t.dtype for n, t in named(whole).items() if t.is_floating_point()}
    pinned: dict[str, str] = {}
    for folds in (True, False):
        small, made = _exact(whole, [nodes, hidden], reference, round_to, pinned, folds=folds)
        narrowed(small, dtypes)
        reason = reference.difference(small, rounded=True)
        if reason is None:
            small = uncalled(small)
            made.baked, made.unseen = baked, unseen
            record(small, made)
            if optimizer is not None:
                exchange(optimizer, model, small, made)
            return small
    raise ValueError(
        f"compact: in its own types the smaller network does not compute the same ({reason}); raise tolerance, which is "
        f"{tolerance:g}, or compact the network in float32."
    )


def _exact(
    model: nn.Module,
    traced: list[list[Node]],
    reference: Reference,
    round_to: int,
    pinned: dict[str, str],
    *,
    folds: bool,
) -> tuple[nn.Module, Compaction]:
    """The smaller network in float64, with what its code needs added to ``pinned``, node by node."""
    example, dtypes = reference.inputs[0], {n: t.dtype for n, t in named(model).items()}
    shapes: Run | None = None
    values: Run | None = None
    while True:
        tried = _attempt(model, traced, round_to, pinned, folds=folds)
        if not reference.wide:
            narrowed(tried.small, dtypes)
        reason = _wrong(reference, tried.small)
        if reason is None:
            tried.made.dead = _named_dead(tried.dead, reference)
            return tried.small, tried.made
        run = watched(reference, tried.small, example, values=False)
        shapes = shapes or watched(reference, model, example, values=False)
        found, reason = parting(shapes, run, tried.channels, tried.keep, tried.needs, tried.made.constants)
        if not found and run.error is None:
            values = values or watched(reference, model, example, values=True)
            again = watched(reference, tried.small, example, values=True)
            found, reason = parting(
                values, again, tried.channels, tried.keep, tried.needs, tried.made.constants
            )
        chosen = removed_above(found, tried.channels, tried.keep) or removed_above(
            [n for n in traced[0] if n.op == "output"], tried.channels, tried.keep
        )
        chosen = chosen or [n for n in traced[0] if n.name not in pinned]
        if not chosen:
            raise ValueError(
                f"compact: even with all channels kept, the copy does not compute the same ({reason}); does the network "
                "give the same twice in eval mode?"
            )
        place = found[0] if found else chosen[0]
        for node in chosen:
            pinned[node.name] = _needs(model, place, reason)


def _named_dead(dead: list[int], reference: Reference) -> list[str]:
    """Says which outputs are the same whatever goes in."""
    names = list(reference.expected[0])
    found = [names[i] for i in dead if i < len(names)]
    if found:
        warnings.warn(
            f"compact: of the network's outputs {', '.join(found)} no element depends on the input: all channels on the way "
            "are dead. Prune less (a higher density), or check the training.",
            UserWarning,
            stacklevel=4,
        )
    return found


def _needs(model: nn.Module, node: Node, reason: str) -> str:
    try:
        kind = type(model.get_submodule(node.owner)).__name__
    except AttributeError:
        kind = "the network"
    return f"the code of {kind} needs its channels as they are ({node.place}: {reason})"


def _wrong(reference: Reference, small: nn.Module) -> str | None:
    try:
        return reference.difference(small, rounded=False)
    except Exception as error:  # whatever the user's code raises
        return type(error).__name__


@dataclass(frozen=True)
class _Attempt:
    small: nn.Module
    made: Compaction
    channels: Channels
    keep: Tensor
    needs: Needs
    dead: list[int]


def _attempt(
    model: nn.Module, traced: list[list[Node]], round_to: int, pinned: Mapping[str, str], *, folds: bool
) -> _Attempt:
    small = copied(model)
    widened(small)
    state = named(small)
    channels = find_channels(small, traced[0], pinned, traced[1])
    strength = strengths(channels, state)
    fixed, _ = fixed_values(channels.nodes, state)
    values = constant_values(channels.nodes, state, fixed)
    dead = constant_outputs(channels.nodes, values)
    if not folds:
        values = zeros_alone(values)
    biases = fold_constants(small, channels.nodes, values)
    needs = needed(channels.nodes, values, fixed, state)
    constants = constant_layers(small, channels.nodes, values, needs)
    gone = {f"{path}.weight" for path in constants}
    keep = alive(channels, needs)
    complete(channels, keep, strength, gone, round_to)

    kept: dict[str, dict[int, Tensor]] = {}
    for (name, axis), ids in channels.axes.items():
        kept.setdefault(name, {})[axis] = ((ids < 0) | keep[ids.clamp(min=0)]).nonzero().flatten()
    for path in biases:
        kept[f"{path}.bias"] = {0: kept[f"{path}.weight"][0]} if 0 in kept.get(f"{path}.weight", {}) else {}
    for path, value in constants.items():
        outputs = kept.get(f"{path}.weight", {}).get(0)
        put_constant(small, path, value if outputs is None or value is None else value[outputs])
    names = set(named(small))
    groups = group_counts(small, channels, keep)
    cut(small, {name: axes for name, axes in kept.items() if name in names})
    indices = {n: {a: i.tolist() for a, i in axes.items()} for n, axes in kept.items() if n in names}
    settings = {path: settings_of(small.get_submodule(path)) for path in constants}
    made = Compaction(
        {n: axes for n, axes in indices.items() if axes},
        settings,
        [path for path in biases if path not in constants],
        dict(channels.pins),
        (channels.count, int(keep.sum())),
        groups=groups,
    )
    return _Attempt(small, made, channels, keep, needs, dead)


def _check_reached(model: nn.Module, example: Input) -> None:
    """Where each task has an input of its own, a task left out would keep layers that no longer fit the shared ones."""
    if isinstance(example, Tensor):
        return
    other = copied(model).eval()
    called: set[str] = set()
    for name, module in other.named_modules():
        module.register_forward_pre_hook(lambda *_, name=name: called.add(name))
    with torch.no_grad(), preserved_rng():
        outputs: Any = other(example)
    if not isinstance(outputs, Mapping) or set(outputs) != set(example):
        return
    inside = [n for n, p in model.named_parameters() if p.dim() > 1 and "." in n]
    left = [n for n in inside if not any(f"{n}.".startswith(f"{module}.") for module in called if module)]
    if left:
        raise ValueError(
            f"compact: with inputs for {sorted(example)} alone, {left[0]} and {len(left) - 1} more weights are not reached; "
            "give an input for every task of the network."
        )
