"""What a model costs: parameters and multiply-accumulates, dense and sparse."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd  # pyright: ignore[reportPrivateUsage]
from torch.nn.utils import parametrize
from torch.nn.utils.rnn import PackedSequence

from secateur.measures.by_weight import ByWeight
from secateur.problem import Call, Input, Problem, called, example, looking, to_device
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
    keys in attention, nor recurrent layers, which no method prunes. A layer that ``x`` does not reach costs nothing. The model is left as it was.

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


@torch.no_grad()
def count_macs(model: nn.Module, x: Input) -> dict[str, int]:
    """Dense multiply-accumulates of one forward pass of ``x``, by the name of the weight that does them.

    A convolution does ``O * I / groups * k * k`` at each place of its output, a transposed one at each place of its
    input (border places included), a linear layer ``O * I`` for each vector, attention as many for each of its four
    projections. A recurrent layer multiplies each of its matrices once a step: 4 * (I * H + H * H) of an LSTM, 3 of a GRU, 1 of a
    plain one, in every layer and direction. A layer called by its weight counts too. A module called several times adds up; one that is not called has 0. The forward pass runs in eval
    mode; hooks, modes and random state are left as they were. Works on the meta device, without computing.

    Args:
        model: Its convolutions, linear, attention and recurrent layers are counted.
        x: A tensor or ``{task: tensor}``; moved to the model's device.
    """
    counts: dict[str, int] = {}
    handles: list[Any] = []
    by_weight = ByWeight(model, counts)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    try:
        for prefix, module in _modules(model):
            count = _counter(module)
            if count is not None:
                dot = f"{prefix}." if prefix else ""
                counts |= dict.fromkeys((dot + attribute for attribute in _weights(module)), 0)
                hook = _hook(counts, dot, count)
                handles.append(module.register_forward_pre_hook(by_weight.enter))
                handles.append(module.register_forward_hook(by_weight.leave))
                handles.append(module.register_forward_hook(hook, with_kwargs=True))
        with looking(model), by_weight:
            model.eval()(to_device(x, device))
    finally:
        for handle in handles:
            handle.remove()
    return counts


def _modules(model: nn.Module) -> list[tuple[str, nn.Module]]:
    return list(model.named_modules())  # pyright: ignore[reportUnknownArgumentType]


_Counter = Callable[[Any, dict[str, Any], Tensor], dict[str, int]]


def _counter(module: nn.Module) -> _Counter | None:
    """``(module, inputs by name, output) -> {weight: multiply-accumulates}`` of this kind of module."""
    if isinstance(module, _ConvTransposeNd):
        return _transposed
    if isinstance(module, _ConvNd):
        return _convolution
    if isinstance(module, nn.Linear):
        return _linear
    if isinstance(module, nn.MultiheadAttention):
        return _attention
    return _recurrent if isinstance(module, (nn.RNNBase, nn.RNNCellBase)) else None


def _weights(module: Any) -> list[str]:
    """Attributes of ``module`` itself that hold its weights."""
    if isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
        return [name for name, _ in module.named_parameters(recurse=False) if name.startswith("weight")]
    if not isinstance(module, nn.MultiheadAttention):
        return ["weight"]
    if module.in_proj_weight is None:  # pyright: ignore[reportUnnecessaryComparison]
        return ["q_proj_weight", "k_proj_weight", "v_proj_weight"]
    return ["in_proj_weight"]


def _hook(counts: dict[str, int], dot: str, count: _Counter) -> Callable[..., None]:
    def add(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        inputs = inspect.signature(module.forward).bind(*args, **kwargs).arguments
        for attribute, macs in count(module, inputs, output).items():
            counts[dot + attribute] += macs

    return add


def _convolution(module: Any, inputs: dict[str, Any], output: Tensor) -> dict[str, int]:
    return {"weight": module.weight.numel() * (output.numel() // module.out_channels)}


def _transposed(module: Any, inputs: dict[str, Any], output: Tensor) -> dict[str, int]:
    return {"weight": module.weight.numel() * (inputs["input"].numel() // module.in_channels)}


def _linear(module: Any, inputs: dict[str, Any], output: Tensor) -> dict[str, int]:
    return {"weight": module.weight.numel() * (output.numel() // module.out_features)}


def _attention(module: Any, inputs: dict[str, Any], output: Any) -> dict[str, int]:
    width = module.embed_dim
    sizes = {"query": width, "key": module.kdim, "value": module.vdim}
    vectors = {name: inputs[name].numel() // size for name, size in sizes.items()}
    macs = [width * size * vectors[name] for name, size in sizes.items()]
    names = _weights(module)
    own = {names[0]: sum(macs)} if len(names) == 1 else dict(zip(names, macs, strict=True))
    return {**own, "out_proj.weight": width * width * vectors["query"]}


def _recurrent(module: Any, inputs: dict[str, Any], output: Any) -> dict[str, int]:
    given = inputs["input"]
    values = given.data if isinstance(given, PackedSequence) else given
    steps = values.numel() // module.input_size  # of all sequences together
    return {name: getattr(module, name).numel() * steps for name in _weights(module)}


def _added(macs: list[Macs]) -> Macs:
    return Macs(sum(m.dense for m in macs), sum(m.sparse for m in macs))


def _total(model: nn.Module) -> int:
    """Elements of all parameters of the plain model: what a parametrization adds is not counted."""
    lists = [(n, m) for n, m in _modules(model) if isinstance(m, parametrize.ParametrizationList)]
    inside = {id(p) for _, module in lists for p in module.parameters()}
    total = sum(p.numel() for p in model.parameters() if id(p) not in inside)
    for name, module in lists:
        *owner, _, attribute = name.split(".")  # torch calls the list owner.parametrizations.attribute
        if next(module.parameters(recurse=False), None) is not None:  # a parametrized parameter, not a buffer
            total += weight(model, ".".join([*owner, attribute])).numel()
    return total
