"""What a place to track a training in is, and how it is asked to report nothing of its own."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]  # (H, W, 3)

# Usage statistics and reports of errors that these libraries and those below them send unless told otherwise.
_OFF = {
    "DO_NOT_TRACK": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "WANDB_ERROR_REPORTING": "false",
}


@dataclass(frozen=True)
class Tracked:
    """The run to track.

    Args:
        project: What runs are gathered under.
        name: The run's own.
        folder: Where files go, for those that write any; None for their own place.
        config: What the training was asked for, as plain values.
        id: What :meth:`Backend.open` returned when the run began; empty for a new one.
        step: Steps that are done; after them nothing of this id counts.
    """

    project: str
    name: str
    folder: Path | None = None
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    id: str = ""
    step: int = 0


class Backend(Protocol):
    """A place to track a training in; give an object of your own to :class:`Tracker` where none of ours is it."""

    def open(self, run: Tracked) -> str:
        """Begins a run, or goes on with ``run.id``; returns its id. Whatever can be wrong is said here, before training."""
        ...

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers of a step, by names such as ``loss/seg``; a step may come twice, and after a resumption again."""
        ...

    def picture(self, step: int, name: str, image: Picture) -> None:
        """A picture, (height, width, 3) in bytes."""
        ...

    def close(self, ended: bool) -> None:
        """Training ended, or was stopped by something that raised."""
        ...


@contextmanager
def unobserved() -> Generator[None]:
    """Within it trackers and what they are built on report nothing of their own; what the user has set stays."""
    added = {name: value for name, value in _OFF.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def needed(package: str, extra: str) -> ImportError:
    """The error where a package is missing."""
    return ImportError(
        f"Tracker {extra!r} needs {package}; install it with: pip install 'secateur[{extra}]'."
    )
