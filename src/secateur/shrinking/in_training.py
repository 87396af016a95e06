"""Whether a smaller network does the same in training, and which channels it needs for that."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from secateur.shrinking.channels import Channels, Node, layers, operations
from secateur.shrinking.copying import copied
from secateur.shrinking.names import named
from secateur.shrinking.parting import removes
from secateur.shrinking.verify import Reference

_MOST = 8  # nodes that are looked for one by one
_DRAWN = 0.5  # in the place of what is drawn
_FILLED = {
    "cauchy",
    "exponential",
    "geometric",
    "log_normal",
    "normal",
    "rand",
    "rand_like",
    "randn",
    "randn_like",
}


@dataclass(frozen=True)
class Otherwise:
    """What a smaller network does otherwise in training.

    Args:
        reason: In words.
        fails: Whether it raises, where the original does not.
    """

    reason: str
    fails: bool


@dataclass(frozen=True)
class Cut:
    """A smaller network and what it was cut by: labels, and which of them are left."""

    small: nn.Module
    channels: Channels
    keep: Tensor


class InTraining:
    """What a network gives while code of the user's is told that it trains, with gradients enabled.

    Norms and dropout are as in eval mode, and what is drawn is the same whatever its size, so that networks of other
    sizes can be compared.

    Args:
        reference: Of the network, with the input.
        model: The network.
    """

    def __init__(self, reference: Reference, model: nn.Module) -> None:
        self.reference, self.model = reference, model
        self.expected: dict[str, Tensor] | None = None
        with suppress(
            Exception
        ):  # whatever the user's code raises; there is nothing to be compared with then
            self.expected = self._outputs(model)

    def otherwise(self, small: nn.Module) -> Otherwise | None:
        """What ``small`` does otherwise; None where that is nothing, or the network itself does not run."""
        if self.expected is None:
            return None
        try:
            found = self._outputs(small)
        except Exception as error:  # whatever the user's code raises
            return Otherwise(f"{type(error).__name__}: {error}".splitlines()[0], fails=True)
        for name, value in self.expected.items():
            if (other := found.get(name)) is None or other.shape != value.shape:
                return Otherwise(f"the shape of {name} differs", fails=False)
            if reason := self.reference.compared(name, [value], [other], rounded=True):
                return Otherwise(reason.partition(", it changes")[0], fails=False)
        return None

    def _outputs(self, model: nn.Module) -> dict[str, Tensor]:
        with self.reference.running(model, self.reference.inputs[0], training=True) as (other, run):
            other.requires_grad_(False)  # nothing is kept for a backward pass
            with torch.enable_grad(), _Steady(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return run()


class ForTraining:
    """What a smaller network must keep so that training does the same, as far as that is possible.

    Where constants went, what training makes of them is gone too; that alone is no reason. So it is looked at in a copy in
    which nothing reads the channels that go, whatever they hold.

    Args:
        reference: Of the original.
        model: The original.
        traced: Its trace, and that of what training alone runs.
        again: Cuts such a copy, with nodes pinned, by the zeros of its weights alone.

    Attributes:
        pins: Name of a node whose channels training needs as they are, to the reason.
        otherwise: What it does otherwise all the same.
        unread: Path of a module that training alone runs -> how many channels are gone that it reads by weights that are not zero,
            where training gives something else.
    """

    def __init__(
        self,
        reference: Reference,
        model: nn.Module,
        traced: Sequence[Sequence[Node]],
        again: Callable[[nn.Module, Mapping[str, str]], Cut],
    ) -> None:
        self.reference, self.model, self.traced, self.again = reference, model, traced, again
        self.pins: dict[str, str] = {}
        self.otherwise: Otherwise | None = None
        self.unread: dict[str, int] = {}
        self._whole: InTraining | None = None

    def needs_more(self, cut: Cut) -> bool:
        """Whether nodes were found, by a smaller network that does the same in eval mode, that must be pinned for training."""
        first = self._whole is None
        self._whole = self._whole or InTraining(self.reference, self.model)
        found = self._whole.otherwise(cut.small)
        self.unread = {} if found is None else _gone(self.model, self.traced, cut)
        if found is not None and first:
            self.pins, self.otherwise = self._looked_for(self._whole, cut)
        if found is not None and found.fails and not (first and self.pins):
            self.otherwise = found
        return first and bool(self.pins)

    def _looked_for(self, whole: InTraining, cut: Cut) -> tuple[dict[str, str], Otherwise | None]:
        unread = InTraining(self.reference, _unread(self.model, self.traced, cut))
        first = self.again(unread.model, {})
        found = unread.otherwise(first.small)
        if found is None or whole.otherwise(whole.model) or unread.otherwise(unread.model):
            return {}, None  # constants alone; or no two passes are the same

        def cut_with(some: Sequence[Node]) -> Cut:
            return self.again(unread.model, {node.name: "" for node in some})

        nodes = _fewest(_removing(first), lambda some: not unread.otherwise(cut_with(some).small))
        if not nodes or not _removing(cut_with(nodes)):
            return {}, found  # nothing helps, or nothing would go any more
        reason = found.reason
        return {
            node.name: f"training needs its channels as they are ({node.place}: {reason})" for node in nodes
        }, None


def _unread(model: nn.Module, traced: Sequence[Sequence[Node]], cut: Cut) -> nn.Module:
    """A copy whose layers read nothing of the channels that went."""
    other: nn.Module = copied(model)
    state = named(other)
    for _, layer in layers([node for nodes in traced for node in nodes]):
        for axis in (layer.input_axis,) if layer.groups == 1 else (0, 1):
            labels = cut.channels.axes.get((layer.weight.target, axis))
            if labels is not None:
                gone = (labels >= 0) & ~cut.keep[labels.clamp(min=0)]
                weight = state[layer.weight.target].data
                weight.index_fill_(axis, gone.nonzero().flatten().to(weight.device), 0)
    return other


def _gone(model: nn.Module, traced: Sequence[Sequence[Node]], cut: Cut) -> dict[str, int]:
    """Path of each layer that training alone runs to how many channels went that it reads by weights that are not zero."""
    known, state = {layer.weight.target for _, layer in layers(traced[0])}, named(model)
    found: dict[str, int] = {}
    for _, layer in layers([node for nodes in traced[1:] for node in nodes]):
        name, axis = layer.weight.target, layer.input_axis
        labels = cut.channels.axes.get((name, axis))
        if name in known or labels is None or layer.groups > 1:
            continue
        gone = (labels >= 0) & ~cut.keep[labels.clamp(min=0)]
        read = state[name].detach().movedim(axis, 0).flatten(1).any(1).cpu()
        if count := int((gone & read).sum()):
            found[name.rpartition(".")[0]] = count
    return found


def _removing(cut: Cut) -> list[Node]:
    """The first node of each set of channels that went."""
    found: dict[tuple[int, ...], Node] = {}
    for node in cut.channels.nodes:
        if node.call is not None and removes(node, cut.channels, cut.keep):
            parts = [torch.unique(labels) for labels in cut.channels.labels[node.name]]
            labels = torch.unique(torch.cat(parts))
            labels = labels[(labels >= 0) & ~cut.keep[labels.clamp(min=0)]]
            found.setdefault(tuple(labels.tolist()), node)
    return list(found.values())


def _fewest(nodes: list[Node], works: Callable[[Sequence[Node]], bool]) -> list[Node]:
    """Of ``nodes`` those without which it does not work, found by halves; none where all of them do not help."""
    chosen: list[Node] = []
    if not works(nodes):
        return []
    while not chosen or not works(chosen):
        low, high = 0, len(nodes)  # the first of them: too few, and enough
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if works([*chosen, *nodes[:middle]]) else (middle, high)
        chosen.append(nodes[high - 1])
        nodes = nodes[: high - 1]
        if len(chosen) == _MOST:
            return chosen if works(chosen) else [*chosen, *nodes]
    return chosen


class _Steady(TorchDispatchMode):
    """What is drawn is what is drawn on average."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        name = operations.name(func)
        if not operations.draws(func):
            return found
        if name == "native_dropout":
            return args[0].clone(), torch.ones_like(found[1])
        if name == "bernoulli":  # in place, or with a probability, or of probabilities
            given = [*args[1:2], (kwargs or {}).get("p"), _DRAWN if found is args[0] else args[0]]
            return found.copy_(torch.as_tensor(next(p for p in given if isinstance(p, (int, float, Tensor)))))
        if name == "uniform":
            low, high = [*args[1:3], *(0.0, 1.0)[len(args[1:3]) :]]
            return found.fill_((low + high) / 2)
        return found.fill_(_DRAWN) if name in _FILLED and found.is_floating_point() else found
