"""The layers of a network that cost something, and how wide each is when some groups of channels are dead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd  # pyright: ignore[reportPrivateUsage]

from secateur.measures import Convolution, Use, weight_uses
from secateur.problem import Call, Input, called
from secateur.pruning import Groups


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer as it is called.

    Args:
        weight: Name of its weight, the first where it is tied; several layers may have one.
        inputs: Input channels (of all groups).
        outputs: Output channels.
        groups: Of a convolution.
        macs: Multiply-accumulates, all its calls.
        calls: The shapes of its inputs, without channels where it is a convolution: (N, H, W); else rows.
        settings: ``kernel``, ``stride``, ``padding``, ``dilation`` of a convolution; empty for a linear layer.
        transposed: Whether it is a transposed convolution.
    """

    weight: str
    inputs: int
    outputs: int
    groups: int
    macs: float
    calls: tuple[tuple[int, ...], ...]
    settings: Mapping[str, tuple[int, ...]]
    transposed: bool = False


@torch.no_grad()
def layers_of(model: nn.Module, example: Input, call: Call | None = None) -> list[Layer]:
    """Every convolution and linear layer that a forward pass of ``example`` runs, in its order; the model stays as it was.

    What is called by its weight (attention's projections, ``linear(x, self.qkv.weight)``) comes last. A weight that is used in several
    ways, now as a convolution and now as a matrix, or with several strides, is a layer for each.
    """
    modules = {name for name, module in model.named_modules() if isinstance(module, (_ConvNd, nn.Linear))}
    places = {name: place for place, (name, _) in enumerate(model.named_parameters())}
    first = {id(parameter): name for name, parameter in model.named_parameters()}
    run: dict[tuple[str, Convolution | None], list[Use]] = {}
    by_weight: dict[tuple[str, Convolution | None], list[Use]] = {}
    for use in weight_uses(called(model, call), example):
        own = use.own and use.weight.rpartition(".")[0] in modules
        how = None if use.convolution is None else replace(use.convolution, shape=())
        (run if own else by_weight).setdefault((use.weight, how), []).append(use)
    last = sorted(by_weight.items(), key=lambda item: places.get(item[0][0], len(places)))
    return [
        *(_layer(model, uses, first) for uses in run.values()),
        *(_layer(model, uses, first, together=True) for _, uses in last),
    ]


def _layer(
    model: nn.Module, uses: Sequence[Use], first: Mapping[int, str], *, together: bool = False
) -> Layer:
    """Of a weight that is used in one way; a matrix as if all its rows came ``together``, or call by call."""
    path, _, attribute = uses[0].weight.rpartition(".")
    module: Any = model.get_submodule(path)
    value: Tensor = getattr(module, attribute)
    weight = first.get(id(value), uses[0].weight)  # a hook of the user's may make it at each call
    how, macs = uses[0].convolution, float(sum(use.macs for use in uses))
    inputs, outputs, groups, transposed = _sizes(module, value, how)
    if how is None:
        found = [macs] if together else [float(use.macs) for use in uses]
        rows = tuple((max(1, round(one / max(1, inputs * outputs))),) for one in found)
        return Layer(weight, inputs, outputs, 1, macs, rows, {})
    settings = {
        "kernel": how.kernel, "stride": how.stride, "padding": how.padding, "dilation": how.dilation,
    }  # fmt: skip
    calls = tuple(use.convolution.shape for use in uses if use.convolution is not None)
    return Layer(weight, inputs, outputs, groups, macs, calls, settings, transposed)


def _sizes(module: Any, value: Tensor, how: Convolution | None) -> tuple[int, int, int, bool]:
    """Inputs and outputs, groups, and whether it is transposed: of a layer as it was made, else by the shape of its weight."""
    if isinstance(module, _ConvNd):
        return module.in_channels, module.out_channels, module.groups, isinstance(module, _ConvTransposeNd)
    if value.dim() == 1:
        return len(value), 1, 1, False
    outputs, inputs = value.shape[:2] if value.dim() == 2 or how else value.shape[-2:]
    if how is None:
        return inputs, outputs, 1, False
    if how.transposed:
        return outputs, inputs * how.groups, how.groups, True
    return inputs * how.groups, outputs, how.groups, False


class Widths:
    """How many input and output channels each layer has left when some groups are dead.

    Args:
        layers: Of the network.
        groups: Its coupled groups; one that a layer does not know leaves it as it is.
    """

    def __init__(self, layers: Sequence[Layer], groups: Groups) -> None:
        self.layers, self.groups = list(layers), groups
        self._inputs = [groups.index.get(layer.weight) for layer in layers]
        self._outputs = [groups.rows.get(layer.weight) for layer in layers]
        self.thinned = {layer.weight for layer in layers if layer.groups > 1} & groups.rows.keys()
        """Weights of convolutions of which not whole groups go, but the same channels of every group."""
        for place, layer in enumerate(self.layers):
            if layer.groups > 1 and layer.weight not in self.thinned:  # its index is along the outputs
                self._outputs[place] = self._inputs[place]

    def __call__(self, alive: Tensor) -> tuple[Tensor, Tensor]:
        """Input and output channels of each layer, (layers,) each, when ``alive``, (count,) bool, groups are left."""
        held = torch.cat([alive, alive.new_ones(1)])

        def left(ids: Tensor | None, size: int) -> int:
            return size if ids is None else int(held[ids].sum()) * size // len(ids)

        inputs = [left(ids, layer.inputs) for ids, layer in zip(self._inputs, self.layers, strict=True)]
        outputs = [left(ids, layer.outputs) for ids, layer in zip(self._outputs, self.layers, strict=True)]
        return torch.tensor(inputs, dtype=torch.float64), torch.tensor(outputs, dtype=torch.float64)

    def places(self, layer: int) -> tuple[Tensor | None, Tensor | None]:
        """The groups of the inputs and of the outputs of the layer at this place, -1 where there is none; None where none is known."""
        return self._inputs[layer], self._outputs[layer]

    def savings(self, by_input: Tensor, by_output: Tensor) -> Tensor:
        """What each group's death saves, (count,), where one input or output channel of each layer is worth so much."""
        found = torch.zeros(self.groups.count + 1, dtype=torch.float64)
        for values, places in ((by_input, self._inputs), (by_output, self._outputs)):
            for value, ids, layer in zip(values, places, self.layers, strict=True):
                if ids is not None:
                    size = layer.inputs if places is self._inputs else layer.outputs
                    weight = value * size / len(ids)
                    found.index_add_(0, torch.where(ids < 0, self.groups.count, ids), weight.expand(len(ids)))
        return found[:-1]


def families(groups: Groups) -> Tensor:
    """A number for each group, (count,): the same for those that lie in the same weights, along the same axes."""
    places = [*groups.index.values(), *groups.rows.values()]
    signature = torch.zeros(groups.count + 1, dtype=torch.int64)
    draw = torch.Generator().manual_seed(0)
    for ids in places:
        mark = torch.randint(1, 2**62, (1,), generator=draw)
        present = torch.zeros(groups.count + 1, dtype=torch.bool)
        present[ids] = True  # -1 is the last place
        signature[present] += mark
    return torch.unique(signature[:-1], return_inverse=True)[1]


class Streaming(NamedTuple):
    """What weights that caches do not hold take beyond what they would take in a cache, in milliseconds; beyond the last point a line.

    Args:
        megabytes: Of weights (2^20 bytes), ascending, from 0.
        ms: At each, none falling.
    """

    megabytes: tuple[float, ...] = (0.0, 1.0)
    ms: tuple[float, ...] = (0.0, 0.0)

    def __call__(self, megabytes: Tensor) -> Tensor:
        """Milliseconds at each of ``megabytes``, any shape."""
        place, rate = self._at(megabytes)
        x, y = self._points()
        return y[place] + rate * (megabytes - x[place])

    def times(self, share: float) -> Streaming:
        """Of so much less time."""
        return self._replace(ms=tuple(share * ms for ms in self.ms))

    def slope(self, megabytes: Tensor) -> Tensor:
        """Milliseconds that the next megabyte adds at each of ``megabytes``, any shape."""
        return self._at(megabytes)[1]

    def _at(self, megabytes: Tensor) -> tuple[Tensor, Tensor]:
        x, y = self._points()
        place = (torch.searchsorted(x, megabytes, right=True) - 1).clamp(0, len(x) - 2)
        return place, (y.diff() / x.diff())[place]

    def _points(self) -> tuple[Tensor, Tensor]:
        return torch.tensor(self.megabytes).double(), torch.tensor(self.ms).double()
