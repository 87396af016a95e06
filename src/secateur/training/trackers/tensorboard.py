"""TensorBoard: event files in a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

import yaml

from secateur.training.trackers.backend import Picture, Tracked, needed


class TensorBoard:
    """Writes event files into ``folder``, or into ``tensorboard/NAME``; show them by ``tensorboard --logdir``."""

    def __init__(self) -> None:
        try:
            import tensorboard  # pyright: ignore[reportUnusedImport]  # noqa: F401
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise needed("tensorboard", "tensorboard") from error
        self._writer_class = SummaryWriter

    def open(self, run: Tracked) -> str:
        """Begins with the next event file; what an earlier one has of later steps is purged by the reader."""
        folder = run.id or str(run.folder or Path("tensorboard") / f"{run.name}-{uuid4().hex[:6]}")
        Path(folder).mkdir(parents=True, exist_ok=True)
        self._writer = self._writer_class(folder, purge_step=run.step + 1 if run.id else None)
        if not run.id:
            text = yaml.safe_dump(dict(run.config), sort_keys=True)
            self._writer.add_text("config", "\n".join(f"    {line}" for line in text.splitlines()), 0)
        return folder

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Scalars."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def picture(self, step: int, name: str, image: Picture) -> None:
        """An image."""
        self._writer.add_image(name, image, step, dataformats="HWC")

    def close(self, ended: bool) -> None:
        """Closes the file."""
        self._writer.close()
