"""Which labels training has seen: a batch may lack tasks, or have none, but an epoch without a task's labels is an error."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from secateur.problem import Problem, length

_MANY = 1000  # batches that count as an epoch where nobody knows its length


class Labels:
    """Counts batches without labels.

    Args:
        problem: Its tasks, and the length of an epoch.
    """

    def __init__(self, problem: Problem) -> None:
        self._epoch = length(problem.loader()) or _MANY
        self._ignored = dict.fromkeys(problem.tasks, 0)
        self._seen = dict.fromkeys(problem.tasks, False)
        self.skipped = 0
        self._in_a_row = 0

    @property
    def ignored(self) -> dict[str, int]:
        """Task to the batches in which all of its labels were ignored, where there are such."""
        return {task: count for task, count in self._ignored.items() if count}

    def count(self, asked: Iterable[str], found: Iterable[str], known: Iterable[str]) -> None:
        """Counts one batch.

        Args:
            asked: Tasks that have a target in it.
            found: Those of them that have a valid label.
            known: Tasks that have one on any process; without one it is no step.

        Raises:
            ValueError: If an epoch has gone by without a label of any task, or of one that had targets only.
        """
        found, known = set(found), set(known)
        self._seen |= dict.fromkeys(known, True)
        for task in asked:
            self._ignored[task] += task not in found
            if not self._seen[task] and self._ignored[task] >= self._epoch:
                raise ValueError(
                    f"Every label of task {task!r} was ignored in the first {self._ignored[task]} batches: its loss is NaN whatever the "
                    "prediction, or a zero without a gradient. Look at its targets and at what its loss leaves out, such as ignore_index."
                )
        self.skipped += not known
        self._in_a_row = 0 if known else self._in_a_row + 1
        if self._in_a_row >= self._epoch:
            raise ValueError(
                f"{self._in_a_row} batches in a row had no valid label of any of the tasks {sorted(self._seen)}; a batch is "
                "(x, {task: target})."
            )

    def state_dict(self) -> dict[str, Any]:
        """The counts."""
        return {
            "ignored": dict(self._ignored),
            "seen": dict(self._seen),
            "skipped": self.skipped,
            "in a row": self._in_a_row,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up :meth:`state_dict`."""
        self._ignored, self._seen = dict(state["ignored"]), dict(state["seen"])
        self.skipped, self._in_a_row = state["skipped"], state["in a row"]
