"""What a network will cost when some groups of channels are gone, before it is made; and what each death saves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import get_args

import torch
from torch import Tensor, nn

from secateur.budget.latency import Latency
from secateur.budget.layers import Layer, Widths, layers_of
from secateur.budget.limits import Budget, Kind
from secateur.deployment.bench import LayerEngine
from secateur.problem import Call, Input
from secateur.pruning import Groups

_LEAST = 1e-12


class Costs:
    """Predicted costs of one network under the kinds that a budget limits.

    A cost is a sum over the layers, ``a + b·inputs + c·outputs + d·inputs·outputs``, times a factor that makes it that of the dense
    network, as measured: what is not a convolution or matrix (resizing, activations) is taken to shrink alike, until a smaller network
    is measured (:meth:`correct`).

    Args:
        model: Dense, plain.
        example: What it takes.
        groups: Its coupled groups.
        budget: What is limited.
        dense: What the dense network costs, as measured.
        latency: The table; where None, or for an engine without one, time is taken to follow multiply-accumulates.
        call: How the model is called, as in a :class:`secateur.Problem`.
    """

    def __init__(
        self,
        model: nn.Module,
        example: Input,
        groups: Groups,
        budget: Budget,
        dense: Mapping[Kind, float],
        latency: Latency | None = None,
        call: Call | None = None,
    ) -> None:
        self.layers = layers_of(model, example, call)
        self.widths = Widths(self.layers, groups)
        self.step = latency.step() if latency is not None and "ms" in budget.kinds else 1
        self._blocked = torch.tensor([bool(layer.settings) for layer in self.layers])
        places = Counter(layer.weight for layer in self.layers)  # of tied weights more than one
        sizes = [_elements(model, one.weight) / places[one.weight] for one in self.layers]
        bilinear = {
            "macs": _products(self.layers, [layer.macs for layer in self.layers]),
            "params": _products(self.layers, sizes),
        }
        self._terms: dict[Kind, Tensor] = {}
        for kind in budget.kinds:
            if kind == "ms":
                self._terms[kind] = bilinear["macs"] if latency is None else latency.coefficients(self.layers)
            else:
                self._terms[kind] = bilinear["macs" if kind == "macs" else "params"]
        everything = torch.ones(groups.count, dtype=torch.bool)
        self.factor: dict[Kind, float] = dict.fromkeys(budget.kinds, 1.0)
        self.offset: dict[Kind, float] = dict.fromkeys(budget.kinds, 0.0)
        self.dense, self._whole = dense, self(everything)
        for kind, cost in self._whole.items():
            self.factor[kind] = dense[kind] / cost

    def __call__(self, alive: Tensor) -> dict[Kind, float]:
        """Each cost when ``alive``, (count,) bool, groups are left."""
        return {kind: float(self.by_layer(alive, kind).sum()) + self.offset[kind] for kind in self._terms}

    def by_layer(self, alive: Tensor, kind: Kind) -> Tensor:
        """What each layer takes of one cost when ``alive``, (count,) bool, groups are left, (layers,)."""
        widths = self.widths(alive)
        parts = _parts(*(self._padded(*widths) if kind == "ms" else widths))
        return (self._terms[kind] * parts).sum(1) * self.factor[kind]

    def _padded(self, inputs: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Channels as the engine computes them, of convolutions: in multiples of the step, but for inputs fewer than one."""
        up = (inputs / self.step).ceil() * self.step
        inputs = torch.where(self._blocked & (inputs > self.step), up, inputs)
        return inputs, torch.where(self._blocked, (outputs / self.step).ceil() * self.step, outputs)

    def correct(self, alive: Tensor, found: Mapping[Kind, float]) -> None:
        """Learns what ``alive``, (count,) bool, cost as measured: a line through it and the dense network; through it and 0 if that falls."""
        predicted = self(alive)
        for kind, cost in found.items():
            raw = (predicted[kind] - self.offset[kind]) / self.factor[kind]
            less = self._whole[kind] - raw
            slope = (self.dense[kind] - cost) / less if less > _LEAST * self._whole[kind] else 0.0
            if slope <= 0 or slope * raw > cost:
                slope = cost / max(raw, _LEAST)
            self.factor[kind], self.offset[kind] = slope, cost - slope * raw

    def savings(self, alive: Tensor, kind: Kind) -> Tensor:
        """What the death of each group saves of one cost, (count,), at the present widths."""
        inputs, outputs = self.widths(alive)
        _, b, c, d = (self._terms[kind] * self.factor[kind]).unbind(1)
        by_output = c + d * inputs
        if kind == "ms" and self.step > 1:  # fewer outputs than a step are padded to one
            by_output = torch.where(self._blocked & (outputs <= self.step), 0.0, by_output)
        return self.widths.savings(b + d * outputs, by_output)


def _parts(inputs: Tensor, outputs: Tensor) -> Tensor:
    """1, inputs, outputs and their product, (layers, 4); nothing where a layer is gone."""
    parts = torch.stack([torch.ones_like(inputs), inputs, outputs, inputs * outputs], 1)
    return parts * ((inputs > 0) & (outputs > 0))[:, None]


def has_table(engine: str) -> bool:
    """Whether single layers can be timed in this engine."""
    return engine in get_args(LayerEngine)


def _elements(model: nn.Module, weight: str) -> int:
    """Of a parameter by its name, or of a tensor that a hook of the user's puts in the place of one."""
    path, _, name = weight.rpartition(".")
    return getattr(model.get_submodule(path), name).numel()


def _products(layers: list[Layer], costs: list[float]) -> Tensor:
    """A cost that is proportional to inputs times outputs; of a depthwise layer to its outputs."""
    rows = [
        [0.0, 0.0, cost / layer.outputs, 0.0]
        if layer.groups > 1
        else [0.0, 0.0, 0.0, cost / (layer.inputs * layer.outputs)]
        for layer, cost in zip(layers, costs, strict=True)
    ]
    return torch.tensor(rows, dtype=torch.float64).reshape(len(layers), 4)
