"""What modules save beside their tensors, by ``get_extra_state``: tensors and plain values are kept, all else is said."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from secateur.shrinking import unwrapped
from secateur.storage.outline import EXTRA, short, tensors_of


def extra_keepers(model: nn.Module) -> dict[str, nn.Module]:
    """The modules that have one, by its plain name in the state dict."""
    named = model.named_modules(remove_duplicate=False)
    keepers = {n: m for n, m in named if type(m).get_extra_state is not nn.Module.get_extra_state}
    return {unwrapped(f"{name}.{EXTRA}" if name else EXTRA): module for name, module in keepers.items()}


def extra_states(model: nn.Module) -> dict[str, Any]:
    """A copy of each that its module gives and that can be copied, by its plain name in the state dict; it shares nothing with the network."""
    found: dict[str, Any] = {}
    for name, module in extra_keepers(model).items():
        try:
            found[name] = copied_state(module.get_extra_state())
        except Exception:  # what copying and a user's code raise is of every kind
            continue
    return found


def copied_state(state: Any) -> Any:
    """A copy of one, its tensors without their history."""
    apart = {id(tensor): _apart(tensor) for _, tensor in tensors_of(state)}
    return copy.deepcopy(state, apart)


def hand_back(module: nn.Module, state: Any) -> None:
    """Gives a module what it gave before, as a copy; one that only gives is left alone."""
    if type(module).set_extra_state is not nn.Module.set_extra_state:
        module.set_extra_state(copied_state(state))


def set_extra_states(model: nn.Module, states: Mapping[str, Any], source: str) -> None:
    """Hands each to its module.

    Args:
        model: As it was where one is not taken.
        states: By their names, each of a module that has one.
        source: Where they are from, for the error.

    Raises:
        ValueError: If a module does not take its own.
    """
    modules, before = extra_keepers(model), extra_states(model)
    for name, state in states.items():
        try:
            modules[name].set_extra_state(state)
        except Exception as error:  # the user's code raises what it likes
            for changed in list(states)[: list(states).index(name) + 1]:
                if changed in before:
                    modules[changed].set_extra_state(before[changed])
            raise ValueError(
                f"{source}: {name} is not taken by the module's set_extra_state ({type(error).__name__}: {short(error)}); use the "
                "release of the model that wrote it."
            ) from error


def check_extra(source: str, states: Mapping[str, Any], model: nn.Module) -> None:
    """Raises ValueError if there are some of modules that the model has not; warns if some of the model's are not there."""
    own = extra_keepers(model).keys()
    if more := sorted(states.keys() - own):
        raise ValueError(
            f"{source} belongs to another model: it has {', '.join(more[:3])}, and no module here takes it. Build the model it was saved from."
        )
    if lacking := sorted(own - states.keys()):
        warnings.warn(
            f"{source} has no {', '.join(lacking[:3])}; what get_extra_state keeps there stays as it is in this model.",
            stacklevel=3,
        )


def comes_back(state: Any) -> bool:
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


class ExtraStates:
    """Those of a model, as a part of a checkpoint.

    Args:
        model: The model.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._names = {name for name, state in extra_states(model).items() if comes_back(state)}
        self.lost = sorted(extra_keepers(model).keys() - self._names)
        """Names of those that a checkpoint cannot hold."""

    def __bool__(self) -> bool:
        return bool(self._names)

    def state_dict(self) -> dict[str, Any]:
        """Name to what the module gave; RuntimeError if one gave it before and does not now."""
        found = {n: state for n, state in extra_states(self._model).items() if n in self._names}
        if lacking := sorted(self._names - found.keys()):
            raise RuntimeError(
                f"{lacking[0]} of the model cannot be had any more: get_extra_state raises, or gives what cannot be copied, and gave it before "
                "training. No checkpoint is written without it; let it give its state at any time."
            )
        return {"of": found}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes it up; ValueError if it is of other modules, or one does not take its own."""
        if state["of"].keys() != self._names:
            raise ValueError(f"it has extra states of {sorted(state['of'])}, the model {sorted(self._names)}")
        set_extra_states(self._model, state["of"], "its extra states")


def _apart(tensor: Tensor) -> Tensor:
    copied = tensor.detach().clone()
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(copied, tensor.requires_grad)
    return copied.requires_grad_(tensor.requires_grad and tensor.is_leaf)
