"""What a training under a method remembers, beside model, optimizer and data, and how that is taken up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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

    def state(self) -> dict[str, Any]:
        """As tensors and plain values."""
        parts = {name: part.state_dict() for name, part in self.parts.items()}
        parts["identity"] = with_processes(dict(self.identity), self.together)
        return {"done": self.turns.done, "total": self.turns.total, **parts}

    def saved(self) -> dict[str, Any]:
        """As :meth:`state`; RuntimeError in the middle of a step, FloatingPointError if it is none to go on from, a warning in an accumulation."""
        self.turns.check_between()
        self.finite.check()
        self.finite.say_waiting()
        return self.state()

    def check(self, state: Mapping[str, Any]) -> None:
        """Raises ValueError naming what differs, if a state cannot be taken up."""
        check_state(state, self.state(), dict(self.problem.model.named_parameters()), self.turns.total)

    def take_up(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state that was checked; a step that broke off is forgotten."""
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        self.turns.back_to(state["done"])
        self.finite.renew()
