"""The layers of a network that cost something, and how wide each is when some groups of channels are dead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd  # pyright: ignore[reportPrivateUsage]

from secateur.measures import count_macs
from secateur.problem import Call, Input, called, looking
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

    Those that are called by their weight (attention's projections, ``linear(x, self.qkv.weight)``) come last.
    """
    names = {module: name for name, module in model.named_modules()}
    seen: dict[nn.Module, list[tuple[int, ...]]] = {}

    def look(module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        x = cast(Tensor, given[0] if given else named["input"])
        shape = (x.shape[0], *x.shape[2:]) if isinstance(module, _ConvNd) else (x.numel() // x.shape[-1],)
        seen.setdefault(module, []).append(tuple(map(int, shape)))

    hooked = [m for m in model.modules() if isinstance(m, (_ConvNd, nn.Linear))]
    handles = [module.register_forward_pre_hook(look, with_kwargs=True) for module in hooked]
    try:
        with looking(model):
            called(model.eval(), call)(example)
    finally:
        for handle in handles:
            handle.remove()
    macs = count_macs(called(model, call), example)
    first = {id(parameter): name for name, parameter in model.named_parameters()}
    found = [_layer(module, names[module], first, calls, macs) for module, calls in seen.items()]
    there = {id(module.weight) for module in seen}
    return found + [
        _by_weight(name, parameter, count)
        for name, parameter in model.named_parameters()
        if id(parameter) not in there and (count := _counted(macs, name))
    ]


def _counted(macs: Mapping[str, int], weight: str) -> float:
    """Of ``weight``, whose name may stand behind that of the model in a ``call``: the shortest that ends so."""
    ends = [key for key in macs if key == weight or key.endswith(f".{weight}")]
    return float(macs[min(ends, key=len)]) if ends else 0.0


def _by_weight(name: str, weight: Tensor, macs: float) -> Layer:
    """A layer that no module runs; of a convolution only the number of its places is known, so its stride is taken as 1."""
    rows, kernel = max(1, round(macs / weight.numel())), tuple(weight.shape[2:])
    ones = (1,) * len(kernel)
    settings = {"kernel": kernel, "stride": ones, "padding": tuple(k // 2 for k in kernel), "dilation": ones}
    call = (1, rows, *ones[1:]) if kernel else (rows,)
    return Layer(name, weight.shape[1], weight.shape[0], 1, macs, (call,), settings if kernel else {})


def _layer(
    module: Any,
    name: str,
    first: Mapping[int, str],
    calls: Sequence[tuple[int, ...]],
    macs: Mapping[str, int],
) -> Layer:
    own = f"{name}.weight" if name else "weight"
    count = _counted(macs, own)
    weight = first.get(id(module.weight), own)  # a hook of the user's may make it at each call
    if isinstance(module, _ConvNd):
        padding = (
            module.padding
            if not isinstance(module.padding, str)
            else tuple(module._reversed_padding_repeated_twice[::2][::-1])  # pyright: ignore[reportPrivateUsage]
        )
        settings = {
            "kernel": tuple(module.kernel_size),
            "stride": tuple(module.stride),
            "padding": tuple(padding),
            "dilation": tuple(module.dilation),
        }
        return Layer(
            weight, module.in_channels, module.out_channels, module.groups, count, tuple(calls), settings,
            isinstance(module, _ConvTransposeNd),
        )  # fmt: skip
    assert isinstance(module, nn.Linear)
    return Layer(weight, module.in_features, module.out_features, 1, count, tuple(calls), {})


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
