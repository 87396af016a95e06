"""The states of a metric: what torchmetrics adds up over batches and processes."""

from __future__ import annotations

from typing import Any, Literal, get_args

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


def settings_of(metric: Metric) -> tuple[int, ...] | None:
    """What :func:`add_settings` was given; None of a metric that has none, about which nothing is known."""
    found: Any = getattr(metric, "settings", None) if "settings" in metric._defaults else None  # pyright: ignore[reportPrivateUsage]
    return tuple(found.tolist()) if isinstance(found, Tensor) else None
