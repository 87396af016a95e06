"""A trainer's own loader as a Problem sees it: looked at without a trace."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any

from secateur.problem import Batch, undrawn


class Looked:
    """Batches of ``loader`` that leave it as it was: its workers, its place, its generators and counters.

    Args:
        loader: Any that can be iterated again and again.
        batch: What it yields to ``(x, {task: target})``; raises where that is of another form.
    """

    def __init__(self, loader: Iterable[Any], batch: Callable[[Any], Batch]) -> None:
        self._loader, self._batch = loader, batch

    def __len__(self) -> int:
        """Batches of an epoch; 0 where nobody knows."""
        try:
            return len(self._loader) if isinstance(self._loader, Sized) else 0
        except TypeError:  # a DataLoader of an iterable data set
            return 0

    def __iter__(self) -> Iterator[Batch]:
        with undrawn(self._loader):
            yield from map(self._batch, self._loader)
