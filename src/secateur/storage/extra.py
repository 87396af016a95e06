"""What modules save beside their tensors, by ``get_extra_state``: tensors and plain values are kept, all else is said."""

from __future__ import annotations

import copy
import io
import json
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from secateur.shrinking import unwrapped
from secateur.storage.outline import short

_SUFFIX = "_extra_state"  # of its name in a state dict


def is_extra(name: str) -> bool:
    """Whether the entry of a state dict is what ``get_extra_state`` gave."""
    return name.rpartition(".")[2] == _SUFFIX


def extra_states(model: nn.Module) -> dict[str, Any]:
    """A copy of each, by its plain name in the state dict."""
    found = {unwrapped(name): value for name, value in model.state_dict().items() if is_extra(name)}
    return {n: v.detach().clone() if isinstance(v, Tensor) else copy.deepcopy(v) for n, v in found.items()}


def set_extra_states(model: nn.Module, states: Mapping[str, Any], source: str) -> None:
    """Hands each to its module.

    Args:
        model: As it was where one is not taken.
        states: By their names, each of a module that has one.
        source: Where they are from, for the error.

    Raises:
        ValueError: If a module does not take its own.
    """
    modules = {unwrapped(name): module for name, module in model.named_modules()}
    before = extra_states(model)
    for name, state in states.items():
        try:
            modules[name.rpartition(".")[0]].set_extra_state(state)
        except Exception as error:  # the user's code raises what it likes
            for changed in list(states)[: list(states).index(name) + 1]:
                modules[changed.rpartition(".")[0]].set_extra_state(before[changed])
            raise ValueError(
                f"{source}: {name} is not taken by the module's set_extra_state ({type(error).__name__}: {short(error)}); use the "
                "release of the model that wrote it."
            ) from error


def check_extra(source: str, states: Mapping[str, Any], model: nn.Module) -> None:
    """Raises ValueError if there are some of modules that the model has not; warns if some of the model's are not there."""
    own = extra_states(model).keys()
    if more := sorted(states.keys() - own):
        raise ValueError(
            f"{source} belongs to another model: it has {', '.join(more[:3])}, and no module here takes it. Build the model it was saved from."
        )
    if lacking := sorted(own - states.keys()):
        warnings.warn(
            f"{source} has no {', '.join(lacking[:3])}; what get_extra_state keeps there stays as it is in this model.",
            stacklevel=3,
        )


def is_plain(state: Any) -> bool:
    """Whether JSON gives it back as it is."""
    try:
        return bool(json.loads(json.dumps(state)) == state)
    except (TypeError, ValueError, RecursionError):
        return False


class ExtraStates:
    """Those of a model, as a part of a checkpoint.

    Args:
        model: The model.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        states = extra_states(model)
        self.lost = [name for name, state in states.items() if not _comes_back(state)]
        """Names of those that a checkpoint cannot hold."""
        self._names = states.keys() - set(self.lost)

    def __bool__(self) -> bool:
        return bool(self._names)

    def state_dict(self) -> dict[str, Any]:
        """Name to what the module gave."""
        return {"of": {n: state for n, state in extra_states(self._model).items() if n in self._names}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes it up; ValueError if it is of other modules, or one does not take its own."""
        if state["of"].keys() != self._names:
            raise ValueError(f"it has extra states of {sorted(state['of'])}, the model {sorted(self._names)}")
        set_extra_states(self._model, state["of"], "its extra states")


def _comes_back(state: Any) -> bool:
    """Whether a checkpoint gives it back, which runs no code."""
    if isinstance(state, Tensor):
        return True
    try:
        torch.save(state, file := io.BytesIO())
        file.seek(0)
        torch.load(file, weights_only=True)
    except Exception:  # pickle raises of every kind
        return False
    return True
