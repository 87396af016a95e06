"""Tasks whose prediction is the same whatever the input."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from secateur.problem import Call, Input, looking

_SAME = 2.0**-22  # of a prediction: two roundings of a float32


class DeadTaskWarning(UserWarning):
    """A task whose prediction does not depend on the input."""


class Unmoved:
    """Watches inputs and predictions go by and tells the tasks whose predictions are all the same although the inputs are not."""

    def __init__(self) -> None:
        self._given: dict[str, list[Tensor]] = {}
        self._first: dict[str, Tensor] = {}
        self._varied: set[str] = set()
        self._moved: set[str] = set()

    @property
    def tasks(self) -> list[str]:
        """Those that saw inputs that differ, and predicted the same."""
        return [task for task in self._first if task in self._varied and task not in self._moved]

    @property
    def empty(self) -> bool:
        """Whether nothing went by yet."""
        return not self._given

    def see(self, x: Input, predictions: Mapping[str, Any]) -> None:
        """Takes a batch, (N, ...) or {name: (N, ...)}, and what is predicted of it, {task: (N, ...)}.

        What is no such prediction counts as moved.
        """
        for task, prediction in predictions.items():
            if task in self._moved:
                continue
            if not isinstance(prediction, Tensor) or not prediction.dim() or not prediction.numel():
                self._moved.add(task)
                continue
            self._look(task, _of(x, task))
            found = prediction.detach()
            first = self._first.setdefault(task, found[:1].clone())
            if first.shape[1:] != found.shape[1:] or not _same(found, first):
                self._moved.add(task)

    def _look(self, task: str, given: list[Tensor]) -> None:
        if task in self._varied:
            return
        first = self._given.setdefault(task, [one[:1].detach().clone() for one in given])
        if any(
            a.shape[1:] != b.shape[1:] or bool((a != b).any()) for a, b in zip(given, first, strict=False)
        ):
            self._varied.add(task)


def unmoved(model: nn.Module, inputs: Iterable[Input], call: Call | None = None) -> list[str]:
    """The tasks whose prediction is the same for all of ``inputs``, which differ; the model is left as it was.

    Args:
        model: ``model(x) -> {task: prediction}``.
        inputs: That differ, such as :func:`varied` makes. One that the network does not take says nothing.
        call: ``(model, x) -> {task: prediction}`` where ``model(x)`` is not.
    """
    watched = Unmoved()
    with looking(model), torch.no_grad():
        model.eval()
        for x in inputs:
            try:
                found: Any = model(x) if call is None else call(model, x)
                watched.see(x, dict(found))
            except Exception:
                continue
    return watched.tasks


def varied(x: Input) -> Iterator[Input]:
    """``x``, and inputs like it: numbers with as much noise as they vary, whole numbers in another order."""
    yield x
    draw = torch.Generator().manual_seed(0)
    for _ in range(2):
        yield (
            _other(x, draw)
            if isinstance(x, Tensor)
            else {name: _other(value, draw) for name, value in x.items()}
        )


def dead_said(tasks: Sequence[str]) -> str:
    """What is wrong with these, in one sentence; empty where there are none."""
    if not tasks:
        return ""
    one = len(tasks) == 1
    return (
        f"{', '.join(map(repr, tasks))} {'is' if one else 'are'} dead: {'its prediction is' if one else 'their predictions are'} the same "
        "whatever the input. No speed or size of this network means anything there; prune less (a higher density, a looser budget), "
        "or look at its training."
    )


def _of(x: Input, task: str) -> list[Tensor]:
    """The inputs that a task has: its own, where each has one; none that is no tensor, such as a graph."""
    if isinstance(x, Tensor):
        return [x]
    if not isinstance(x, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        return []
    return [value for value in ([x[task]] if task in x else x.values()) if isinstance(value, Tensor)]  # pyright: ignore[reportUnnecessaryIsInstance]


def _same(found: Tensor, first: Tensor) -> bool:
    if not found.is_floating_point():
        return bool((found == first).all())
    largest = float(first.abs().max())
    return bool(((found - first).abs() <= _SAME * largest).all() | (found == first).all())


def _other(x: Tensor, draw: torch.Generator) -> Tensor:
    if x.is_floating_point():
        spread = float(x.std()) if x.numel() > 1 else 0.0
        noise = torch.randn(x.shape, generator=draw).to(x)
        return x + noise * (spread or 1.0)
    order = torch.randperm(x.numel(), generator=draw).to(x.device)
    return x.flatten()[order].view(x.shape)
