"""Copies of a model that is being pruned, such as moving averages: they end with the same zeros."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from secateur.problem import prunable
from secateur.pruning import is_effective
from secateur.shrinking import unwrapped


class Followers:
    """What becomes of ``model``'s weights outside the optimizer becomes of the copies' too."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._copies: list[dict[str, Tensor]] = []

    def add(self, copy: Any) -> Any:
        """Takes ``copy``, a module or the tensors of one by their names, along; see :meth:`secateur.Pruning.follow`."""
        if not isinstance(copy, (nn.Module, Mapping)):
            raise ValueError(
                f"follow: {type(copy).__name__} is no module; give the averaged copy of the model itself, or its tensors by name."
            )
        own, other = _parameters(self._model), _parameters(copy)
        wrong = [n for n, p in own.items() if getattr(other.get(n), "shape", None) != p.shape]
        if wrong or (own.keys() != other.keys() and isinstance(copy, nn.Module)):
            names = wrong or sorted(other.keys() - own.keys())
            raise ValueError(
                f"follow: {type(copy).__name__} is no copy of the model; they differ in {', '.join(names[:3])}. "
                "Give copy.deepcopy(model), or an average made of it."
            )
        if any(other[n] is p for n, p in own.items()):
            raise ValueError("follow: that is the model itself; it gets its zeros anyway.")
        self._copies.append({n: other[n] for n in _names(self._model)})
        return copy

    @contextmanager
    def following(self) -> Generator[None]:
        """Around what a method does: where it turns thresholded weights into plain ones, copies move by as much."""
        weights = _named(self._model) if self._copies and is_effective(self._model) else {}
        before = {name: weight.detach().clone() for name, weight in weights.items()}
        yield
        if weights and not is_effective(self._model):
            with torch.no_grad():
                for copy in self._copies:
                    for name, weight in weights.items():
                        copy[name].add_((weight - before[name]).to(copy[name]))

    @torch.no_grad()
    def finish(self) -> None:
        """Gives the copies the model's zeros."""
        for copy in self._copies:
            for name, weight in _parameters(self._model).items():
                if name in copy:
                    copy[name].mul_((weight != 0).to(copy[name]))


def _parameters(model: nn.Module | Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    if isinstance(model, Mapping):
        return model
    return {unwrapped(name): parameter for name, parameter in _inside(model).named_parameters()}


def _named(model: nn.Module) -> dict[str, nn.Parameter]:
    return {unwrapped(name): parameter for name, parameter in prunable(_inside(model)).items()}


def _names(model: nn.Module) -> list[str]:
    return list(_named(model))


def _inside(model: nn.Module) -> nn.Module:
    """The module inside wrappers that hold nothing else: averages, compiled and distributed modules."""
    while True:
        children = dict(model.named_children())
        inner = children.get("module", children.get("_orig_mod"))
        if inner is None or len(children) > 1 or next(model.parameters(recurse=False), None) is not None:
            return model
        model = inner
