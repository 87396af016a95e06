"""Loaders as they come: with or without a length, or one for each task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sized
from itertools import chain
from typing import Any, NamedTuple


class OfTask(NamedTuple):
    """A batch of one task's own loader, as it came."""

    task: str
    batch: Any


class InTurn:
    """Batches of ``{task: loader}`` for training: a task after the other, until the longest loader has ended.

    One that ends before begins again. The order is a function of the loaders alone, so an epoch can be replayed.

    Args:
        loaders: Each can be iterated again and again.
    """

    def __init__(self, loaders: Mapping[str, Iterable[Any]]) -> None:
        self.tasks, self.loaders = list(loaders), list(loaders.values())

    def __len__(self) -> int:
        """Batches of an epoch.

        Raises:
            TypeError: If a loader has no length.
        """
        rounds = self._rounds()
        if rounds is None:
            raise TypeError("one of the loaders has no length")
        return rounds * len(self.loaders)

    def __iter__(self) -> Iterator[OfTask]:
        rounds = self._rounds()
        batches: list[Iterator[Any] | None] = [None for _ in self.loaders]
        ended: set[int] = set()
        done = 0
        while done != rounds:
            for i, task in enumerate(self.tasks):
                for _ in range(2):
                    current = batches[i] = iter(self.loaders[i]) if batches[i] is None else batches[i]
                    assert current is not None
                    try:
                        found = OfTask(task, next(current))
                    except StopIteration:
                        batches[i] = None
                        ended.add(i)
                        if rounds is None and len(ended) == len(self.loaders):
                            return
                    else:
                        yield found
                        break
                else:
                    raise ValueError(
                        f"Problem.train[{task!r}] gave no batch; give a loader that can be iterated again and again."
                    )
            done += 1

    def _rounds(self) -> int | None:
        lengths = [length(loader) for loader in self.loaders]
        return max(n for n in lengths if n is not None) if None not in lengths else None


def one_after_another(loaders: Mapping[str, Iterable[Any]]) -> Iterator[OfTask]:
    """Every batch of ``{task: loader}`` once."""
    return chain.from_iterable((OfTask(t, batch) for batch in loader) for t, loader in loaders.items())


def length(loader: object) -> int | None:
    """Batches of an epoch; None where nobody knows, as of a DataLoader over an iterable data set."""
    try:
        return len(loader) if isinstance(loader, Sized) else None
    except (TypeError, NotImplementedError):
        return None
