"""What a model costs: parameters and multiply-accumulates, dense and sparse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from secateur.measures.uses import layer_weights, weight_uses
from secateur.problem import Call, Input, Problem, called, example
from secateur.pruning import Density, density, weight


@dataclass(frozen=True)
class Macs:
    """Multiply-accumulates of the prunable weights; FLOPs are twice as many.

    Args:
        dense: As if no weight were zero.
        sparse: Those of nonzero weights alone.
    """

    dense: int
    sparse: int


@dataclass(frozen=True)
class Cost:
    """Size and work of a model.

    Args:
        params: Elements of all parameters, biases and normalisations included.
        prunable: Weights in the components.
        nonzero: Those of them that are not exactly zero.
        density: Kept fractions overall, per component and per parameter name.
        macs: Work of one forward pass through the prunable weights.
        components: The same per component.
    """

    params: int
    prunable: int
    nonzero: int
    density: Density
    macs: Macs
    components: dict[str, Macs]

    def to_dict(self) -> dict[str, Any]:
        """As plain dicts, for a file."""
        return {
            "params": {"total": self.params, "prunable": self.prunable, "nonzero": self.nonzero},
            "density": self.density.to_dict(),
            "macs": {
                "dense": self.macs.dense,
                "sparse": self.macs.sparse,
                "components": {c: {"dense": m.dense, "sparse": m.sparse} for c, m in self.components.items()},
            },
        }


@torch.no_grad()
def cost(
    model: nn.Module, x: Input, components: Mapping[str, tuple[str, ...]], call: Call | None = None
) -> Cost:
    """Counts parameters, zeros and multiply-accumulates of ``model``.

    The sparse count is ``nonzero / elements`` of a layer times its dense count: what an ideal sparse kernel does.
    Bias, normalisation, activation, pooling and interpolation are not counted, nor is the product of queries and
    keys in attention, nor recurrent layers and parameters of the user's own, which no method prunes. A layer that ``x`` does not reach costs nothing. The model is left as it was.

    Args:
        model: With or without parametrizations; zeros are those of the effective weights.
        x: Input of the forward pass, with its batch dimension: a batch of 1 gives the cost per sample.
        components: Component to the parameter names in it.
        call: How the model is called where ``model(x)`` does not do, as in a :class:`secateur.Problem`.

    Raises:
        ValueError: If a component names something other than the weight of a convolution, linear layer or attention.
    """
    dense = count_macs(called(model, call), x)
    names = [name for members in components.values() for name in members]
    unknown = sorted(set(names) - set(dense))
    if unknown:
        raise ValueError(
            f"components name {unknown}, which are not weights of convolution, linear or attention layers."
        )
    found = density(model, components)
    sizes = {name: weight(model, name).numel() for name in names}
    kept = {name: round(found.layers[name] * sizes[name]) for name in names}  # exact: sizes are below 2**51
    macs = {name: Macs(dense[name], round(dense[name] * kept[name] / sizes[name])) for name in names}
    return Cost(
        params=_total(model),
        prunable=sum(sizes.values()),
        nonzero=sum(kept.values()),
        density=found,
        macs=_added([macs[name] for name in names]),
        components={c: _added([macs[name] for name in members]) for c, members in components.items()},
    )


def group_costs(problem: Problem, weights: Mapping[str, Tensor], of: str) -> dict[str, float]:
    """What each of the weights costs as a whole: its multiply-accumulates where ``of`` is ``"macs"``, else its elements.

    Raises:
        ValueError: If no forward pass uses any of them.
    """
    if of != "macs":
        return {name: float(weight.numel()) for name, weight in weights.items()}
    macs = count_macs(problem.network, example(problem))
    found = {name: float(macs[name]) for name in weights if macs.get(name)}
    if not found:
        raise ValueError("of is 'macs', but no grouped weight is used in a forward pass; choose another.")
    return found


def count_macs(model: nn.Module, x: Input) -> dict[str, int]:
    """Dense multiply-accumulates of one forward pass of ``x``, by the name of the weight that does them.

    A convolution does ``O * I / groups * k * k`` at each place of its output, a transposed one at each place of its
    input (border places included), a linear layer ``O * I`` for each vector, attention as many for each of its four
    projections. A recurrent layer multiplies each of its matrices once a step: 4 * (I * H + H * H) of an LSTM, 3 of a GRU, 1 of a
    plain one, in every layer and direction. What torch multiplies counts, whoever calls it and whatever a layer takes and gives: a layer
    called by its weight, by a part of it or by what a mask or norm makes of it (``x @ layer.weight.t()``) counts too, and so does a
    parameter of the user's own that something is multiplied with. Products of two results count nothing, such as queries and keys, or a
    matrix that is made from the input. Nor do those of parameters alone, such as an adapter's ``B @ A`` that is merged into a weight: no
    data enters them, so they can be made once; a layer that is called with a parameter, such as queries that are learned, counts. A module called several times adds up; one that is not called has 0. The forward pass runs in eval
    mode, compiled parts as they were written; hooks, modes and random state are left as they were. Works on the meta device, without
    computing.

    Args:
        model: Its convolutions, linear, attention and recurrent layers are counted, and what else of its parameters multiplies.
        x: A tensor or ``{task: tensor}``; moved to the model's device.

    Warns:
        UserWarning: If an operation of another library takes a layer's weight, or one takes weights that are packed away, as quantized
            layers do; what it multiplies is not known.
    """
    counts = dict.fromkeys(layer_weights(model), 0)
    for use in weight_uses(model, x):
        counts[use.weight] = counts.get(use.weight, 0) + use.macs
    return counts


def _added(macs: list[Macs]) -> Macs:
    return Macs(sum(m.dense for m in macs), sum(m.sparse for m in macs))


def _total(model: nn.Module) -> int:
    """Elements of all parameters of the plain model: what a parametrization adds is not counted."""
    lists = [(n, m) for n, m in model.named_modules() if isinstance(m, parametrize.ParametrizationList)]
    inside = {id(p) for _, module in lists for p in module.parameters()}
    total = sum(p.numel() for p in model.parameters() if id(p) not in inside)
    for name, module in lists:
        *owner, _, attribute = name.split(".")  # torch calls the list owner.parametrizations.attribute
        if next(module.parameters(recurse=False), None) is not None:  # a parametrized parameter, not a buffer
            total += weight(model, ".".join([*owner, attribute])).numel()
    return total
