"""An optimizer that goes on with the parameters of a smaller network."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import repeat
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from secateur.shrinking.compaction import Compaction
from secateur.shrinking.names import named, unwrapped


def check_own(optimizer: Optimizer, model: nn.Module) -> None:
    """Raises ValueError if nothing that the optimizer steps is a parameter of ``model``: training would go on with another network.

    So it is if it is no optimizer, such as a list of them.
    """
    if not isinstance(optimizer, Optimizer):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(
            f"compact: optimizer is a {type(optimizer).__name__}; give one optimizer, of several the one that pruning.attach gave."
        )
    own = {id(parameter) for parameter in named(model).values()}
    if not any(id(one) in own for group in optimizer.param_groups for one in group["params"]):
        raise ValueError(
            "compact: optimizer steps no parameter of this model; give the one that trains it, or leave it out."
        )


def exchange(optimizer: Optimizer, model: nn.Module, small: nn.Module, made: Compaction) -> None:
    """Lets the optimizer step the parameters of ``small``, its state cut like the weights.

    A parameter that ``model`` did not have, such as a bias that took up constants, joins the group of the others of
    its module.
    """
    new = dict(small.named_parameters())
    names = {id(p): unwrapped(name) for name, p in reversed(named(model).items())}
    taken: set[str] = set()
    homes: dict[str, int] = {}  # path of a module to the group that steps it
    for number, group in enumerate(optimizer.param_groups):
        exchanged: list[Any] = []
        called: list[str] = []  # as the optimizer was given them, if it was given names
        states: dict[Any, Any] = {}
        for old, own in zip(group["params"], group.get("param_names") or repeat(""), strict=False):
            name = names.get(id(old))
            if name is None:
                exchanged.append(old)
                called.append(own)
                continue
            homes.setdefault(_module(name), number)
            state = optimizer.state.pop(old, None)
            if name not in new:
                continue
            exchanged.append(new[name])
            called.append(own)
            taken.add(name)
            if state:
                states[new[name]] = {
                    key: _sliced(key, v, old, made.kept.get(name, {})) for key, v in state.items()
                }
        group["params"] = exchanged
        for (
            parameter,
            state,
        ) in states.items():  # which one of several optimizers takes once it has the parameter
            optimizer.state[parameter] = state
        if "param_names" in group:
            group["param_names"] = called
    old_names = {unwrapped(name) for name in named(model)}
    for name, parameter in new.items():
        home = homes.get(_module(name))
        if name not in taken and name not in old_names and home is not None:
            optimizer.param_groups[home]["params"].append(parameter)
            optimizer.param_groups[home].get("param_names", []).append(name)


def _module(name: str) -> str:
    """The module that a parameter belongs to, also under a parametrization."""
    return (
        name.partition(".parametrizations.")[0] if ".parametrizations." in name else name.rpartition(".")[0]
    )


def _sliced(key: str, value: Any, like: Tensor, axes: Mapping[int, list[int]]) -> Any:
    """State of a weight's shape, or of that shape without one axis, as factored moments have it, cut like the weight."""
    if not isinstance(value, Tensor) or value.dim() == 0:
        return value
    shape = tuple(like.shape)
    if value.dim() == len(shape):
        places = {axis: axis for axis in range(len(shape)) if value.shape[axis] == shape[axis]}
        if any(size not in (1, shape[axis]) for axis, size in enumerate(value.shape)):
            return value
    else:
        without = [a for a in range(len(shape)) if (*shape[:a], *shape[a + 1 :]) == tuple(value.shape)]
        if not without:
            return value
        last = key.endswith(
            "row"
        )  # rows are left when the last axis was averaged over, columns when the one before
        gone = without[-1] if last or len(without) == 1 else without[-2]
        places = {axis: axis - (axis > gone) for axis in range(len(shape)) if axis != gone}
    for axis, indices in axes.items():
        if axis in places:
            value = value.index_select(places[axis], torch.tensor(indices, device=value.device))
    return value
