"""Weights & Biases, and what has its interface: Trackio, which keeps runs on this machine unless told where to send them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from importlib import import_module
from typing import Any
from uuid import uuid4

from secateur.training.trackers.backend import Picture, Tracked, needed

# Of Weights & Biases: what a run sends beside what is logged, where the release knows of it.
_NOTHING_ELSE = {
    "console": "off",
    "disable_code": True,
    "disable_git": True,
    "disable_job_creation": True,
    "save_code": False,
    "x_disable_machine_info": True,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
}


class _WandbLike:
    """The calls that both have in common."""

    def __init__(self, package: str) -> None:
        try:
            self._api: Any = import_module(package)
        except ImportError as error:
            raise needed(package, package) from error
        self._run: Any = None
        self._first = 0

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers; what the run has already, of before it was stopped, is not sent twice."""
        if step >= self._first:
            self._run.log(dict(values), step=step)

    def picture(self, step: int, name: str, image: Picture) -> None:
        """An image."""
        if step >= self._first:
            self._run.log({name: self._api.Image(image)}, step=step)


class Trackio(_WandbLike):
    """Logs to this machine, or where ``TRACKIO_SPACE_ID`` or ``TRACKIO_SERVER_URL`` say; show it by ``trackio show``."""

    def __init__(self) -> None:
        super().__init__("trackio")

    def open(self, run: Tracked) -> str:
        """The id is the run's name, which is made unique."""
        name = run.id or f"{run.name}-{uuid4().hex[:6]}"
        with redirect_stdout(sys.stderr):
            self._run = self._api.init(
                project=run.project,
                name=name,
                config=dict(run.config),
                resume="allow" if run.id else "never",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
        last = getattr(self._run, "_next_step", 0) if run.id else 0
        self._first = max(0, int(last))
        return str(self._run.name)

    def close(self, ended: bool) -> None:
        """Waits until all is written."""
        with redirect_stdout(sys.stderr):
            self._api.finish()


class Wandb(_WandbLike):
    """Sends what is logged, and nothing of machine, console, code or packages; ``WANDB_MODE=offline`` keeps it here.

    Raises:
        ValueError: If it would send and there is no key.
    """

    def __init__(self) -> None:
        super().__init__("wandb")
        mode = os.environ.get("WANDB_MODE", "online")
        if mode not in ("offline", "disabled", "dryrun") and not self._api.api.api_key:
            raise ValueError(
                "Tracker 'wandb': there is no key to send with; run `wandb login` or set WANDB_API_KEY, or WANDB_MODE=offline to keep "
                "the run on this machine."
            )

    def open(self, run: Tracked) -> str:
        """Begins or goes on; a server that is not there is an error here."""
        known = getattr(self._api.Settings, "model_fields", _NOTHING_ELSE)
        settings = {name: value for name, value in _NOTHING_ELSE.items() if name in known}
        name = run.id or uuid4().hex[:8]
        if run.folder is not None:
            run.folder.mkdir(parents=True, exist_ok=True)
        self._run = self._api.init(
            project=run.project,
            name=run.name,
            id=name,
            resume="allow" if run.id else None,
            config=dict(run.config),
            dir=None if run.folder is None else str(run.folder),
            settings=self._api.Settings(**settings),
        )
        self._first = int(self._run.step or 0) if run.id else 0
        return name

    def close(self, ended: bool) -> None:
        """Waits until all is sent."""
        self._run.finish(exit_code=0 if ended else 1)
