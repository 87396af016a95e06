"""What a training under a method remembers, beside model, optimizer and data, and how that is taken up."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor

from secateur.problem import Problem, Together
from secateur.training.finite.finite import Finite
from secateur.training.resuming.identity import check_state, with_processes
from secateur.training.turns import Turns


@dataclass(frozen=True)
class Remembered:
    """Of one training.

    Args:
        problem: For the names of its parameters.
        identity: What tells this training from others.
        parts: By their names, such as method and weighting; each has a ``state_dict``.
        together: Its processes.
        turns: Where it stands.
        finite: What watches it.
    """

    problem: Problem
    identity: Mapping[str, Any]
    parts: Mapping[str, Any]
    together: Together
    turns: Turns
    finite: Finite
    _begun: list[dict[str, Any]] = field(init=False, default_factory=list[dict[str, Any]])
    # what a state of the beginning is like; none where a method of somebody's own has no state before its first step

    def __post_init__(self) -> None:
        with suppress(Exception):
            self._begun.append(_forms(self.state()))

    def state(self) -> dict[str, Any]:
        """As tensors and plain values."""
        parts = {name: part.state_dict() for name, part in self.parts.items()}
        return {"done": self.turns.done, "total": self.turns.total, **parts, "identity": self._identity()}

    def saved(self) -> dict[str, Any]:
        """As :meth:`state`; RuntimeError in the middle of a step, FloatingPointError if it is none to go on from, a warning in an accumulation."""
        self.turns.check_between()
        self.finite.check()
        self.finite.say_waiting()
        return self.state()

    def check(self, state: Mapping[str, Any]) -> None:
        """Raises ValueError naming what differs, if a state cannot be taken up.

        It is held against one of the beginning: what came later may be there or not, since there is a way back to before it.
        """
        begun = self._begun[0] if self._begun else self.state()
        here = {**begun, "identity": self._identity()}
        check_state(state, here, dict(self.problem.model.named_parameters()), self.turns.total)

    def take_up(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state that was checked; a step that broke off is forgotten."""
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        self.turns.back_to(state["done"])
        self.finite.renew()

    def _identity(self) -> dict[str, Any]:
        return with_processes(dict(self.identity), self.together)


def _forms(value: Any) -> Any:
    """A state with tensors that take no memory and know no number."""
    if isinstance(value, Mapping):
        return {key: _forms(item) for key, item in cast(Mapping[Any, Any], value).items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_forms, cast(list[Any], value)))
    if isinstance(value, Tensor) and value.layout == torch.strided:
        return value.new_zeros(()).expand(value.shape)
    return value
