"""A training shown while it runs: losses, weights, densities, thresholds, metrics and pictures."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from secateur.problem import check_count
from secateur.training.callbacks import Callback, Course
from secateur.training.trackers.backend import Backend, Tracked, unobserved
from secateur.training.trackers.drawing import drawn
from secateur.training.trackers.mlflow import MLflow
from secateur.training.trackers.tensorboard import TensorBoard
from secateur.training.trackers.wandb_like import Trackio, Wandb

BACKENDS: dict[str, Callable[[], Backend]] = {
    "tensorboard": TensorBoard,
    "trackio": Trackio,
    "wandb": Wandb,
    "mlflow": MLflow,
}
"""Name to what makes the backend; it refuses where its package, or a key, is missing."""


class Tracker(Callback):
    """Logs a training to ``"tensorboard"``, ``"trackio"``, ``"wandb"``, ``"mlflow"``, or to a :class:`Backend` of one's own.

    Of every row of the history: ``loss/TASK``, ``weight/TASK``, ``density/overall``, ``density/COMPONENT``, ``threshold/COMPONENT``
    and ``lr``; of every validation ``val/TASK/METRIC``, and pictures of tasks that have a ``picture``, prediction beside truth.
    A resumed training goes on in the same run. The history, or the run folder, stays what counts: where the tracker fails on the
    way, that is said once and training goes on without. What these libraries report of themselves is switched off.

    Args:
        to: Name or backend.
        project: What runs are gathered under.
        name: The run's own; the method's if None.
        folder: Where files go, of those that write any; their own place if None.
        pictures: Of how many validation images; 0 for none.
        config: What is shown as the run's configuration; what ``fit`` was asked for if None.

    Raises:
        ValueError: If there is no such tracker, or a key is missing.
        ImportError: If its package is not installed.
    """

    decides, turn = False, 5  # after all that decides what is validated

    def __init__(
        self,
        to: str | Backend,
        *,
        project: str = "secateur",
        name: str | None = None,
        folder: Path | str | None = None,
        pictures: int = 4,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        check_count("Tracker: pictures", pictures, 0, "give how many images to draw, 0 for none")
        self.to = to if isinstance(to, str) else type(to).__name__
        self.project, self.name, self.pictures, self.config = project, name, pictures, config
        self.folder = None if folder is None else Path(folder)
        with unobserved():
            self._backend = make(to) if isinstance(to, str) else _checked(to)
        self._id, self._open = "", False
        self._quiet = ExitStack()

    def start(self, course: Course) -> None:
        """Forgets any run before."""
        self._id, self._open = "", False

    def begin(self, course: Course) -> None:
        """Opens the run, or goes on with the one of the checkpoint."""
        if not course.writes or course.step >= course.total or course.stopped:
            return
        name = self.name or type(course.pruning.method).__name__
        config = course.settings if self.config is None else self.config
        run = Tracked(self.project, name, self.folder, config, self._id, course.step)
        self._quiet.enter_context(unobserved())
        try:
            self._id = self._backend.open(run)
        except Exception as error:
            self._quiet.close()
            raise ConnectionError(
                f"Tracker {self.to!r} cannot begin ({type(error).__name__}: {error}); nothing was trained. Mend that, or train without it."
            ) from error
        self._open = True

    def logged(self, course: Course, row: Mapping[str, Any]) -> None:
        """Numbers of a row."""
        values = {name: value for name, value in flat(row).items() if math.isfinite(value)}
        self._try(lambda: self._backend.log(row["step"], values))

    def validated(self, course: Course, metrics: object) -> None:
        """Pictures."""
        if self.pictures and self._open:
            self._try(lambda: self._draw(course))

    def end(self, course: Course) -> None:
        """Closes the run."""
        self._close(ended=True)

    def failed(self, course: Course, error: BaseException) -> None:
        """Closes the run as one that was stopped."""
        self._close(ended=False)

    def state_dict(self) -> dict[str, Any]:
        """The run's id."""
        return {"id": self._id}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes it up."""
        self._id = state["id"]

    def _draw(self, course: Course) -> None:
        for name, image in drawn(course.problem, self.pictures):
            self._backend.picture(course.step, name, image)

    def _close(self, ended: bool) -> None:
        self._try(lambda: self._backend.close(ended))
        self._open = False
        self._quiet.close()

    def _try(self, call: Callable[[], object]) -> None:
        if not self._open:
            return
        try:
            call()
        except Exception as error:  # of any kind, as of a server that is gone
            self._open = False
            self._quiet.close()
            warnings.warn(
                f"Tracker {self.to!r} failed ({type(error).__name__}: {error}); training goes on without it, and the history has all.",
                stacklevel=2,
            )

    def __deepcopy__(self, memo: dict[int, Any]) -> Tracker:
        """For the attempts under floors, each a run of its own."""
        to = self.to if self.to in BACKENDS else self._backend
        return Tracker(
            to,
            project=self.project,
            name=self.name,
            folder=self.folder,
            pictures=self.pictures,
            config=self.config,
        )


def make(name: str) -> Backend:
    """The backend of this name.

    Raises:
        ValueError, ImportError: As :class:`Tracker`.
    """
    if name not in BACKENDS:
        near = get_close_matches(name, BACKENDS, n=1)
        raise ValueError(
            f"Tracker: no tracker {name!r}; there are {', '.join(BACKENDS)}, or give a backend of your own."
            f"{f' Did you mean {near[0]}?' if near else ''}"
        )
    return BACKENDS[name]()


def flat(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a row of the history by their names."""
    if "val" in row:
        return {f"val/{task}/{m}": float(v) for task, found in row["val"].items() for m, v in found.items()}
    density = row["density"]
    found = {"lr": row["lr"], "density/overall": density["overall"]}
    found |= {f"density/{name}": value for name, value in density["components"].items()}
    for kind in ("loss", "weight", "threshold"):
        found |= {f"{kind}/{name}": value for name, value in row[kind].items()}
    return {name: float(value) for name, value in found.items()}


def _checked(backend: Any) -> Backend:
    if missing := [verb for verb in ("open", "log", "picture", "close") if not hasattr(backend, verb)]:
        raise ValueError(
            f"Tracker: {type(backend).__name__} has no {' and no '.join(missing)}; give one of {', '.join(BACKENDS)}, or an object "
            "with open, log, picture and close."
        )
    return cast(Backend, backend)
