"""The states of a metric: what torchmetrics adds up over batches and processes."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor
from torchmetrics import Metric

from secateur.measures.metrics.resize import Resize


def add_state(metric: Metric, name: str, start: Tensor, reduce: Literal["sum", "min", "max"] = "sum") -> None:
    """Gives ``metric`` a state that starts as ``start`` and is put together over processes by ``reduce``."""
    metric.add_state(name, start, dist_reduce_fx=reduce)  # pyright: ignore[reportUnknownMemberType]


def add_settings(metric: Metric, *numbers: int, resize: Resize) -> None:
    """Adds what the states of ``metric`` depend on as one more state, which no update changes.

    torchmetrics merges metrics into one compute group when their states are equal after the first batch. Two
    metrics with different settings can agree there by accident; this state keeps them apart, also in a collection of the user's own.

    Raises:
        ValueError: If ``resize`` is unknown.
    """
    choices = get_args(Resize)
    if resize not in choices:
        raise ValueError(f"resize is {resize!r}; choose one of {list(choices)}.")
    add_state(metric, "settings", torch.tensor([*numbers, choices.index(resize)]), "max")


def settings_of(metric: Metric) -> tuple[tuple[float, ...], ...] | None:
    """What the states of one of our metrics depend on; None of any other, also of one that extends ours, about which nothing is known."""
    own = type(metric).__module__.startswith("secateur.measures.metrics.")
    constants = [getattr(metric, name, None) for name in ("settings", "weights")] if own else []
    if not any(isinstance(value, Tensor) for value in constants[:1]):
        return None
    return tuple(tuple(value.flatten().tolist()) for value in constants if isinstance(value, Tensor))
