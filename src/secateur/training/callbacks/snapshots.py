"""Weights on the way, every so many steps, each a file that ``load`` reads."""

from __future__ import annotations

from pathlib import Path

import torch

from secateur.problem import check_count, prunable
from secateur.pruning import weight
from secateur.shrinking import copied
from secateur.storage import save
from secateur.training.callbacks.callback import Callback
from secateur.training.callbacks.course import Course


class Snapshots(Callback):
    """Writes ``step-000500.safetensors`` and so on: the plain network as it computes at that step, with the zeros it has by then.

    They are for looking at, not for going on: that is what ``fit(..., checkpoint=)`` is for.

    Args:
        folder: Where to; it is made.
        every: Steps between two files.
        last: How many files stay, the newest; all if None.

    Raises:
        ValueError: If ``every`` or ``last`` is below 1.
        OSError: In ``start``, if the folder cannot be made.
    """

    decides = False

    def __init__(self, folder: Path | str, every: int, last: int | None = None) -> None:
        for name, value in {"every": every, "last": 1 if last is None else last}.items():
            check_count(f"Snapshots: {name}", value)
        self.folder, self.every, self.last = Path(folder), every, last
        self._pruned: list[str] = []

    def start(self, course: Course) -> None:
        """Makes the folder."""
        self._pruned = [*prunable(course.problem.model)]  # also while some are frozen
        if course.writes:
            self.folder.mkdir(parents=True, exist_ok=True)

    @torch.no_grad()
    def after_step(self, course: Course, losses: object) -> None:
        """Writes, when it is time."""
        if course.step % self.every or not course.writes:
            return
        model = course.problem.model
        plain = copied(model)  # also one that keeps an activation, which deepcopy refuses
        for name in self._pruned:
            plain.get_parameter(name).copy_(weight(model, name))
        save(plain, self._path(course, course.step), {"step": course.step})
        beyond = 0 if self.last is None else course.step - self.last * self.every
        if beyond > 0:
            self._path(course, beyond).unlink(missing_ok=True)

    def _path(self, course: Course, step: int) -> Path:
        return self.folder / f"step-{step:0{len(str(course.total))}}.safetensors"
