"""Which batches' gradients go into a step: those whose losses had a backward pass, and no others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Batch:
    """One of a step.

    Args:
        losses: Task to the value of its loss.
    """

    losses: Mapping[str, Tensor]


class Entered:
    """Batches with a backward pass since the last step.

    A loop may look at a loss and leave its batch out, before the backward pass or, with ``zero_grad``, after it.

    Args:
        dropped: Whether no gradients are there, those of earlier batches neither.
    """

    def __init__(self, dropped: Callable[[], bool]) -> None:
        self._dropped, self._batches = dropped, list[Batch]()

    def watch(self, losses: Mapping[str, Tensor]) -> None:
        """Waits for the backward pass of a batch; one whose losses have none, such as of tasks that are frozen, is in at once."""
        batch = Batch({task: loss.detach() for task, loss in losses.items()})
        learning = [loss for loss in losses.values() if loss.requires_grad]
        for loss in learning:
            loss.register_hook(lambda _: self._enter(batch))
        if not learning:
            self._enter(batch)

    def __iter__(self) -> Iterator[Batch]:
        yield from self._batches

    def clear(self) -> None:
        """The step is over."""
        self._batches.clear()

    def _enter(self, batch: Batch) -> None:
        if batch in self._batches:
            return
        if self._batches and self._dropped():
            self._batches.clear()
        self._batches.append(batch)
