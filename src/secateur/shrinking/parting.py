"""The first place at which a smaller network goes another way than the trace says."""

from __future__ import annotations

import sys
import traceback
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from secateur.problem import Input, lies_in
from secateur.shrinking.channels import Channels, Needs, Node, operations, put_constant
from secateur.shrinking.verify import Reference

Place = tuple[
    str, str
]  # path of the innermost module, and file and line of the innermost code that is not torch's
_HERE = str(Path(__file__).parent)
_SAME = 1e-7  # relative, of float64
_VIEWS = {
    "_unsafe_view",
    "flatten",
    "reshape",
    "unflatten",
    "view",
    "view_as",
}  # one may be traced as another


@dataclass
class Run:
    """What a forward pass did, call by call.

    Args:
        calls: Place to the tensors that each call there gave, in order.
        order: All calls in order, as place and number.
        error: What it raised, if anything.
        stopped: Where it did.
        call: The function that did, if it is one of torch's.
        outer: Place to the lines that called its line, such as that of a forward pass which calls a method; inner ones first.
    """

    calls: dict[Place, list[list[Tensor]]] = field(default_factory=lambda: defaultdict(list))
    order: list[tuple[Place, int]] = field(default_factory=list[tuple[Place, int]])
    error: Exception | None = None
    stopped: Place = ("", "")
    call: str = ""
    outer: dict[Place, list[str]] = field(default_factory=dict[Place, list[str]])


class _Recorder(TorchFunctionMode):
    def __init__(self, run: Run, modules: list[str], values: bool) -> None:
        super().__init__()
        self.run, self.modules, self.values = run, modules, values

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        inner, *outer = _lines() or [""]
        place = (self.modules[-1] if self.modules else "", inner)
        self.run.outer[place] = outer
        try:
            found = func(*args, **(kwargs or {}))
        except Exception:
            if self.run.error is None and not self.run.stopped[1]:
                self.run.stopped, self.run.call = place, str(getattr(func, "__name__", ""))
            raise
        parts = [found] if isinstance(found, Tensor) else found if isinstance(found, (tuple, list)) else []
        tensors = [t.detach() for t in parts if isinstance(t, Tensor)]  # pyright: ignore[reportUnknownVariableType]
        if tensors:
            self.run.order.append((place, len(self.run.calls[place])))
            kept = [t.clone() if self.values else t.to("meta") for t in tensors]
            self.run.calls[place].append(kept)
        return found


def watched(reference: Reference, model: nn.Module, x: Input, *, values: bool) -> Run:
    """Runs a copy of ``model`` and writes down what it does; with ``values`` or the shapes alone."""
    run = Run()
    modules: list[str] = []
    with reference.running(model, x) as (other, forward):
        for path, module in other.named_modules():
            module.register_forward_pre_hook(lambda *_, path=path: modules.append(path))
            module.register_forward_hook(lambda *_: modules.pop() and None)
        try:
            with _Recorder(run, modules, values):
                forward()
        except Exception as error:  # whatever the user's code raises
            run.error = error
            if not run.stopped[1]:
                frames = traceback.extract_tb(error.__traceback__)
                own = [f for f in frames if not _skipped(f.filename)]
                inner, *outer = [f"{f.filename}:{f.lineno}" for f in reversed(own)] or [""]
                run.stopped = (modules[-1] if modules else "", inner)
                run.outer.setdefault(run.stopped, outer)
    return run


def missed(reference: Reference, model: nn.Module, replaced: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Those of the ``replaced`` modules of which the user's code asks what a constant has not, such as a weight, or is not."""
    found: set[str] = set()
    for path, settings in replaced.items():
        with reference.running(model, reference.inputs[0]) as (other, forward):
            weight: Any = other.get_submodule(path).weight
            put_constant(other, path, weight[:, *[0] * (weight.dim() - 1)] if settings else None)
            try:
                forward()
            except Exception:  # whatever the user's code raises
                found.add(path)
    return found


def parting(
    original: Run, smaller: Run, channels: Channels, keep: Tensor, needs: Needs, replaced: Collection[str]
) -> tuple[list[Node], str]:
    """The nodes of the first call that gave something else than the trace says, and what was wrong with it.

    Calls inside modules that were ``replaced`` by constants have nothing to be compared with.
    """
    by_place: dict[Place, list[Node]] = defaultdict(list)
    by_owner: dict[str, list[Node]] = defaultdict(list)
    for node in channels.nodes:
        if node.call is not None and node.op not in operations.CHECKS:
            by_place[node.owner, _place(node)].append(node)
            by_owner[node.owner].append(node)

    def at(place: Place) -> list[Node]:
        """What the trace has at a place: it may name the line of the forward pass, and not that of a function called there."""
        lines = [place[1], *smaller.outer.get(place, [])]
        named = (by_place[place[0], line] for line in lines if (place[0], line) in by_place)
        return next(named, None) or by_owner.get(place[0], [])

    for place, number in smaller.order:
        if place[0] in replaced or number >= len(original.calls.get(place, [])):
            continue
        before, after = original.calls[place][number], smaller.calls[place][number]
        near = at(place)
        shape = [tuple(t.shape) for t in before]
        candidates = [node for node in near if _shapes(node) == shape and node.name not in channels.free]
        if not candidates:
            continue
        reasons = [_difference(node, before, after, channels, keep, needs) for node in candidates]
        if all(reason is not None for reason in reasons):
            return candidates, str(reasons[0])
    if smaller.error is not None:
        reason = f"{type(smaller.error).__name__}: {smaller.error}".splitlines()[0]
        near = at(smaller.stopped)
        same = _VIEWS if smaller.call in _VIEWS else {smaller.call}
        return [node for node in near if node.op in same] or near, reason
    return [], "its outputs differ"


def removed_above(nodes: Iterable[Node], channels: Channels, keep: Tensor) -> list[Node]:
    """Of ``nodes``, or else of what they read, and so on: those with channels that were removed."""
    waiting = list(dict.fromkeys(nodes))
    seen = set(waiting)
    while waiting:
        found = [node for node in waiting if removes(node, channels, keep)]
        if found:
            return found
        above = [read for node in waiting for read in node.inputs if read not in seen]
        waiting = list(dict.fromkeys(above))
        seen.update(waiting)
    return []


def removes(node: Node, channels: Channels, keep: Tensor) -> bool:
    """Whether something of what a node gives was removed."""
    return any(
        bool(((labels >= 0) & ~keep[labels.clamp(min=0)]).any())
        for labels in channels.labels.get(node.name, [])
    )


def needed_by(model: nn.Module, node: Node, reason: str) -> str:
    """Why the channels of a node stay."""
    try:
        kind = type(model.get_submodule(node.owner)).__name__
    except AttributeError:
        kind = "the network"
    return f"the code of {kind} needs its channels as they are ({node.place}: {reason})"


def _difference(
    node: Node,
    before: Sequence[Tensor],
    after: Sequence[Tensor],
    channels: Channels,
    keep: Tensor,
    needs: Needs,
) -> str | None:
    need = needs.of.get(node)
    parts = need if isinstance(need, list) else [need]
    labels = channels.labels.get(node.name)
    if labels is None or len(labels) != len(before) or len(after) != len(before):
        return None
    for index, (label, old, new) in enumerate(zip(labels, before, after, strict=True)):
        alive = (label < 0) | keep[label.clamp(min=0)]
        chosen = [
            alive.movedim(axis, 0).flatten(1).any(1).nonzero().flatten()
            if alive.dim() > 1
            else alive.nonzero().flatten()
            for axis in range(alive.dim())
        ]
        expected = tuple(c.numel() for c in chosen)
        if tuple(new.shape) != expected:
            return f"it gives {tuple(new.shape)} where {expected} is left"
        used = parts[index] if index < len(parts) else None
        layer = (
            node.op in operations.CONVOLUTIONS or node.op == "linear"
        )  # may be shifted; the norm behind takes it
        if layer or used is None or old.is_meta or new.is_meta:
            continue
        for axis, indices in enumerate(chosen):
            old, used = old.index_select(axis, indices.to(old.device)), used.index_select(axis, indices)
        old, new = old.double(), new.double()
        same = (old == new) | (old.isnan() & new.isnan()) | ~used.to(old.device)
        gap = torch.where(same, 0.0, (old - new).abs())
        if not bool((gap <= _SAME * old.nan_to_num(0.0, 0.0, 0.0).abs().max() + 1e-12).all()):
            return "its values differ"
    return None


def _shapes(node: Node) -> list[tuple[int, ...]]:
    several = node.shape and isinstance(node.shape[0], tuple)
    return list(node.shape) if several else [tuple(node.shape)]


def _place(node: Node) -> str:
    return ":".join(node.source.split(":")[:2])


def _lines() -> list[str]:
    """The lines of code that is not torch's that led here, the innermost first."""
    found: list[str] = []
    frame = sys._getframe(2)  # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        if not _skipped(frame.f_code.co_filename):
            found.append(f"{frame.f_code.co_filename}:{frame.f_lineno}")
        frame = frame.f_back
    return found


def _skipped(file: str) -> bool:
    return file.startswith((_HERE, "<")) or lies_in(file, "torch")
