"""What was not finite first, what is left of the network, and what to do: in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

_DIVERGED = "Lower the learning rate, clip gradients, or look for"
_ROOT = "targets that give a task an infinite gradient, such as the root of a zero"


@dataclass(frozen=True)
class Part:
    """What is trained for the same tasks.

    Args:
        owners: The tasks.
        tensors: Its parameters.
        of: The method or the weighting that they are of; empty for those of the model.
    """

    owners: frozenset[str]
    tensors: list[Tensor]
    of: str = ""


@dataclass(frozen=True)
class Wrong:
    """What is not finite now, by names."""

    weights: Sequence[str] = ()
    buffers: Sequence[str] = ()
    optimizer: Sequence[str] = ()

    def __bool__(self) -> bool:
        return bool(self.weights or self.buffers or self.optimizer)

    def __str__(self) -> str:
        names = [*self.weights, *self.buffers, *self.optimizer]
        return f"{', '.join(names[:3])}{' and more' if len(names) > 3 else ''}"


@dataclass(frozen=True)
class Seen:
    """First steps at which something was not finite, infinity for none.

    Args:
        losses: Task to that of its loss, where there is one.
        gradients: Those of the parts.
        inputs: That of an input; None if nobody told what goes in.
    """

    losses: Mapping[str, float]
    gradients: Sequence[tuple[Part, float]]
    inputs: float | None

    def said(self, wrong: Wrong, still: Wrong, when: str) -> tuple[str, str]:
        """What happened, and the remedy.

        Args:
            wrong: What was not finite.
            still: What of that is so now.
            when: At or by which step that was seen.
        """
        first = min((at for _, at in self.gradients), default=math.inf)
        began = min(self.losses.values(), default=math.inf)
        if self.losses and began <= first:
            tasks = " and ".join(
                repr(task) for task, at in self.losses.items() if at == began
            )  # others follow
            what = f"The loss of task {tasks} became NaN or infinite at step {int(began)}; training stopped."
            remedy = "Lower the learning rate, or look for invalid targets of that task"
        elif math.isfinite(first):
            whose = _whose([part for part, at in self.gradients if at == first])
            what = f"Weights became NaN or infinite: {still}; first was the gradient{whose}, at step {int(first)}."
            if not still:
                what = f"The gradient{whose} became NaN or infinite at step {int(first)}; training stopped."
            remedy = f"{_DIVERGED} {_ROOT}"
        elif wrong.buffers and not wrong.weights:
            what = f"Buffers became NaN or infinite: {wrong}, {when}; losses and gradients did not."
            remedy = "Look for numbers in the data that are far too large"
        else:
            what, remedy = f"Weights became NaN or infinite: {wrong}, {when}.", f"{_DIVERGED} {_ROOT}"
        since = math.inf if self.inputs is None else self.inputs
        if since <= min(began, first) and math.isfinite(since):
            what += f" The input of step {int(since)} holds NaN or infinity."
            remedy = "Look at the data, and at what is made of them before the model"
        elif self.inputs is None:
            remedy += ", or inputs that are NaN or infinite"
        return what, remedy


def back_again(lost: Sequence[str]) -> str:
    """What there is of the network, where a step was taken back, but of ``lost``."""
    if not lost:
        return "The model is as it was before that step."
    names = f"{', '.join(lost[:3])}{' and more' if len(lost) > 3 else ''}"
    return f"The model is as it was before that step, but for {names}: copied at each step are small buffers and quick extra states."


def left(wrong: Wrong, done: int) -> str:
    """What there is of the network after so many steps, where nothing was put back."""
    if wrong.weights:
        return "The weights that the model had are lost; load or build them anew."
    if wrong.buffers:
        return f"The weights are finite, those of step {done}; load or build the buffers anew."
    return "" if wrong else f"Nothing was put back: the model is that of step {done}, and finite."


def _whose(parts: Iterable[Part]) -> str:
    """Of which tasks' the gradient is, or of which method or weighting."""
    found = list(parts)
    tasks = _blamed([part.owners for part in found if not part.of])
    if tasks:
        return f" of task {' and '.join(map(repr, tasks))}"
    named = sorted({part.of for part in found if part.of}) if all(part.of for part in found) else []
    return f" of what {' and '.join(named)} trains" if named else ""


def _blamed(owners: Iterable[frozenset[str]]) -> list[str]:
    """Tasks that can have spoilt parts with these owners: those of parts with one owner, else all that reach."""
    parts = list(owners)
    alone = {task for part in parts if len(part) == 1 for task in part}
    return sorted(alone or frozenset[str]().union(*parts))
