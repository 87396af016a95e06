"""A model that is called in its own way, as a module of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

Call = Callable[[nn.Module, Any], Any]


class Called(nn.Module):
    """``Called(model, call)(x)`` is ``call(model, x)``.

    Its parameters, buffers and layers are the model's, under their plain names, and so is its mode.
    """

    def __init__(self, model: nn.Module, call: Call) -> None:
        mode = model.training
        self.__dict__["of"], self.__dict__["by"] = model, call
        super().__init__()
        self._modules, self._parameters, self._buffers = model._modules, model._parameters, model._buffers
        self._non_persistent_buffers_set = model._non_persistent_buffers_set
        model.training = mode

    @property
    def training(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The model's."""
        return self.__dict__["of"].training

    @training.setter
    def training(self, mode: bool) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        self.__dict__["of"].training = mode

    def forward(self, x: Any) -> Any:
        """What ``call`` makes of it."""
        return self.__dict__["by"](self.__dict__["of"], x)


def called(model: nn.Module, call: Call | None) -> nn.Module:
    """``model``, or a :class:`Called` of it where it is not called by ``model(x)``."""
    if call is None:
        return model
    if not callable(call):
        raise ValueError(
            f"call is {type(call).__name__}; give a function (model, x) -> {{task: prediction}}."
        )
    return Called(model, call)


def uncalled(model: nn.Module) -> nn.Module:
    """The model inside a :class:`Called`."""
    return model.__dict__["of"] if isinstance(model, Called) else model
