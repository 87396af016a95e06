"""What a network will cost when some groups of channels are gone, before it is made; and what each death saves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import get_args

import torch
from torch import Tensor, nn

from secateur.budget.latency import IN_CACHE, Latency
from secateur.budget.layers import Layer, Streaming, Widths, layers_of
from secateur.budget.limits import Budget, Kind
from secateur.deployment.bench import LayerEngine
from secateur.problem import Call, Input
from secateur.pruning import Groups

_LEAST = 1e-12


class CostModel:
    """Predicts the costs of one network under the kinds that a budget limits.

    A cost is a sum over the layers, ``a + b·inputs + c·outputs + d·inputs·outputs``, times a factor that makes it that of the dense
    network, as measured: what is not a convolution or matrix (resizing, activations) is taken to shrink alike, until a smaller network
    is measured (:meth:`correct`). Time has a part more: weights that the processor's caches do not hold all together come from memory
    in every pass, which no layer shows by itself.

    Args:
        model: Dense, plain.
        example: What it takes.
        groups: Its coupled groups.
        budget: What is limited.
        dense: What the dense network costs, as measured.
        latency: The table; where None, or for an engine without one, time is taken to follow multiply-accumulates.
        call: How the model is called, as in a :class:`secateur.Problem`.
        weight_bytes: Of a weight, in the file that is timed.
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
        weight_bytes: int = 4,
    ) -> None:
        self.layers = layers_of(model, example, call)
        self.widths = Widths(self.layers, groups)
        self.step = latency.step() if latency is not None and "ms" in budget.kinds else 1
        self._blocked = torch.tensor([bool(layer.settings) for layer in self.layers])
        places = Counter(layer.weight for layer in self.layers)  # of tied weights more than one
        sizes = [_elements(model, one.weight) / places[one.weight] for one in self.layers]
        bilinear = {
            "macs": _products(self.layers, [layer.macs for layer in self.layers], self.widths.thinned),
            "params": _products(self.layers, sizes, self.widths.thinned),
        }
        self._terms: dict[Kind, Tensor] = {}
        for kind in budget.kinds:
            if kind == "ms":
                self._terms[kind] = (
                    bilinear["macs"]
                    if latency is None
                    else latency.coefficients(self.layers, self.widths.thinned)
                )
            else:
                self._terms[kind] = bilinear["macs" if kind == "macs" else "params"]
        self._megabytes = bilinear["params"] * weight_bytes / 2**20
        self._streaming = Streaming()
        if latency is not None and "ms" in budget.kinds and sum(sizes) * weight_bytes > 2**20 * IN_CACHE:
            self._streaming = latency.streaming()
        everything = torch.ones(groups.count, dtype=torch.bool)
        self.factor: dict[Kind, float] = dict.fromkeys(budget.kinds, 1.0)
        self.offset: dict[Kind, float] = dict.fromkeys(budget.kinds, 0.0)
        # Of each network that anchors the line: as the table has it, not scaled, and as measured.
        self._ends = {kind: [(cost, dense[kind])] for kind, cost in self(everything).items()}
        self.correct(everything, {kind: dense[kind] for kind in budget.kinds})

    def __call__(self, alive: Tensor) -> dict[Kind, float]:
        """Each cost when ``alive``, (count,) bool, groups are left."""
        return {kind: float(self.by_layer(alive, kind).sum()) + self.offset[kind] for kind in self._terms}

    def by_layer(self, alive: Tensor, kind: Kind) -> Tensor:
        """What each layer takes of one cost when ``alive``, (count,) bool, groups are left, (layers,)."""
        widths = self.widths(alive)
        if kind != "ms":
            return (self._terms[kind] * _parts(*widths)).sum(1) * self.factor[kind]
        weights = self._weights(*widths)
        streamed = self._streamed(weights) * weights / weights.sum().clamp(min=_LEAST)
        return ((self._terms[kind] * _parts(*self._padded(*widths))).sum(1) + streamed) * self.factor[kind]

    def _weights(self, inputs: Tensor, outputs: Tensor) -> Tensor:
        """Megabytes of each layer, (layers,), of so many channels, (layers,) each."""
        return (self._megabytes * _parts(inputs, outputs)).sum(1)

    def _streamed(self, weights: Tensor) -> Tensor:
        """Milliseconds, not scaled, for reading all the weights from memory, where each layer has ``weights``, (layers,) megabytes.

        Less what the table's rows hold of it: a convolution was timed as the second of two alike, all else by itself.
        """
        paired = self._streaming(2 * weights) - self._streaming(weights)
        held = torch.where(self._blocked, paired, self._streaming(weights))
        return (self._streaming(weights.sum()) - held.sum()).clamp(min=0)

    def _padded(self, inputs: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Channels as the engine computes them, of convolutions: in multiples of the step, but for inputs fewer than one."""
        up = (inputs / self.step).ceil() * self.step
        inputs = torch.where(self._blocked & (inputs > self.step), up, inputs)
        return inputs, torch.where(self._blocked, (outputs / self.step).ceil() * self.step, outputs)

    def begin(self, alive: Tensor, found: Mapping[Kind, float]) -> None:
        """Learns what the smallest network, of ``alive``, (count,) bool, cost as measured: what is more than predicted, no layer shortens.

        Where the dense network took less than its layers, that and its weights' streaming, the streaming was less: it depends on who else uses the memory.
        """
        if "ms" in found:
            everything = torch.ones_like(alive)
            ((whole, dense),) = self._ends["ms"]
            rest = max(0.0, found["ms"] - self._raw(alive, "ms"))
            streamed = float(self._streamed(self._weights(*self.widths(everything))))
            if whole + rest - dense > 0 and streamed:
                self._streaming = self._streaming.times(max(0.0, 1 - (whole + rest - dense) / streamed))
                self._ends["ms"] = [(self._raw(everything, "ms"), dense)]
                self.correct(everything, {"ms": dense})
        predicted = self(alive)
        self.correct(alive, {kind: cost for kind, cost in found.items() if cost > predicted[kind]})
        for kind, cost in found.items():
            self._ends[kind].append((self._raw(alive, kind), cost))

    def correct(self, alive: Tensor, found: Mapping[Kind, float]) -> None:
        """Learns what ``alive``, (count,) bool, cost as measured: a line through it and the dense or the smallest network, whichever is farther.

        A line through it and 0 if that falls.
        """
        for kind, cost in found.items():
            raw = self._raw(alive, kind)
            other, known = max(self._ends[kind], key=lambda end: abs(end[0] - raw))
            apart = abs(other - raw) > _LEAST * self._ends[kind][0][0]
            slope = (known - cost) / (other - raw) if apart else 0.0
            if slope <= 0 or slope * raw > cost:
                slope = cost / max(raw, _LEAST)
            self.factor[kind], self.offset[kind] = slope, cost - slope * raw

    def _raw(self, alive: Tensor, kind: Kind) -> float:
        """As the table has it, not scaled."""
        return float(self.by_layer(alive, kind).sum()) / self.factor[kind]

    def savings(self, alive: Tensor, kind: Kind) -> Tensor:
        """What the death of each group saves of one cost, (count,), at the present widths."""
        inputs, outputs = self.widths(alive)
        terms = self._terms[kind]
        if kind == "ms":
            weights = self._weights(inputs, outputs)
            if self._streamed(weights) > 0:
                terms = terms + self._megabytes * self._streaming.slope(weights.sum())
        _, b, c, d = (terms * self.factor[kind]).unbind(1)
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


def _products(layers: list[Layer], costs: list[float], thinned: Collection[str]) -> Tensor:
    """A cost that is proportional to inputs times outputs; where whole groups go, to outputs."""
    rows = [
        [0.0, 0.0, cost / layer.outputs, 0.0]
        if layer.groups > 1 and layer.weight not in thinned
        else [0.0, 0.0, 0.0, cost / (layer.inputs * layer.outputs)]
        for layer, cost in zip(layers, costs, strict=True)
    ]
    return torch.tensor(rows, dtype=torch.float64).reshape(len(layers), 4)
