"""The weight files of a run, whose damage is said with the command that writes them again."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from secateur.runs.folder import RunFolder
from secateur.storage import DamagedError, load, manifest


def load_weights(model: nn.Module, file: Path) -> None:
    """Reads a run's ``model.safetensors`` or ``compact.safetensors`` into ``model``.

    Raises:
        FileNotFoundError: If there is no such file.
        DamagedError: If it is damaged.
        ValueError: If it is of another model.
    """
    with _remedied(file):
        load(model, file)


def weights_about(file: Path) -> dict[str, Any]:
    """What a weight file says about its model.

    Raises:
        FileNotFoundError: If there is no such file.
        DamagedError: If it is damaged.
    """
    with _remedied(file):
        return dict(manifest(file)["about"])


def is_damaged(file: Path) -> bool:
    """Whether a weight file is cut short or its head is damaged; the weights themselves are not looked at."""
    try:
        manifest(file)
    except DamagedError:
        return True
    except ValueError:  # of another model, or none of ours
        return False
    return False


@contextmanager
def _remedied(file: Path) -> Generator[None]:
    try:
        yield
    except DamagedError as error:
        folder = RunFolder(file.parent)
        verb = "compact" if file.name == folder.compact.name else "train"
        if verb == "train" and folder.config.is_file() and "prune" in folder.read_config():
            verb = "prune"
        raise DamagedError(
            error.what, f"delete it, and the same `secateur {verb}` command writes it again"
        ) from error
