"""A callback, named on a command line, by which one of several processes fails."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from secateur import Callback
from secateur.training import Course


class FailsOnOne(Callback):
    """Fails after a step, in the process of a rank.

    Args:
        rank: Which; where there is none of it, nothing happens.
        how: raise, or kill.
        step: When.
        once: A file that is made then; where it is there already, nothing happens.
    """

    decides = False

    def __init__(self, rank: int = 1, how: str = "raise", step: int = 4, once: str = "") -> None:
        self.rank, self.how, self.step, self.once = rank, how, step, once

    def after_step(self, course: Course, losses: object) -> None:
        """Fails, when it is time."""
        there = bool(self.once) and Path(self.once).exists()
        if course.fabric.global_rank == self.rank and course.step == self.step and not there:
            if self.once:
                Path(self.once).touch()
            if self.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise ValueError("the disk of this one is full")
