"""What happened in a training, which ``fit`` returns, and where it stands, which people see: a bar or a line every 5 %."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING

from secateur.problem import preserved_rng
from secateur.training.floors import Attempt
from secateur.training.ledger import Row
from secateur.training.pruning import Pruning

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

_LINES = 20  # in a whole training
_FRAME = 0.1  # seconds between two pictures of the bar

Standing = Callable[[], tuple[Mapping[str, float], float]]
"""Mean loss per task and the density; asked only when it is shown, for it waits for the device."""


@dataclass(repr=False)
class History:
    """What happened; printed, the end of it in a line.

    Args:
        rows: ``{"step", "loss", "weight", "density", "threshold", "lr"}`` per log interval, ``{"step", "val"}`` per
            validation.
        seconds: Training time, over all sittings.
        attempts: Trainings under floors, in order; empty without floors.
        skipped: Batches that were no step, since they had no valid label of any task.
        ignored: Task to the batches in which all of its labels were ignored, where there are such.
        stopped: Why training stopped before its last step; empty where it did not.
        kept: The step whose state was kept as the best; None where it is the last.
    """

    rows: list[Row] = field(default_factory=list[Row])
    seconds: float = 0.0
    attempts: list[Attempt] = field(default_factory=list[Attempt])
    skipped: int = 0
    ignored: dict[str, int] = field(default_factory=dict[str, int])
    stopped: str = ""
    kept: int | None = None

    def __repr__(self) -> str:
        last = next((row for row in reversed(self.rows) if "loss" in row), None)
        words = [f"{self.rows[-1]['step'] if self.rows else 0} steps in {self.seconds:.3g} s"]
        if last is not None:
            words.append(f"density {last['density']['overall']:.2%}")
            words += [f"{task} {loss:.4g}" for task, loss in last["loss"].items()]
        words += [f"stopped: {self.stopped}"] if self.stopped else []
        words += [f"kept step {self.kept}"] if self.kept is not None else []
        words += [f"{len(self.attempts)} attempts"] if self.attempts else []
        return f"History({', '.join(words)}; {len(self.rows)} rows)"

    def log(self, row: Row, pruning: Pruning, rate: float) -> None:
        """Adds a row of the ledger, with density, thresholds and learning rate as they are now."""
        found = {"density": pruning.density().to_dict(), "lr": rate}
        thresholds = {c: float(a) for c, a in pruning.method.thresholds().items()}
        self.rows.append({"step": pruning.done, **row, **found, "threshold": thresholds})

    def density(self, pruning: Pruning) -> float:
        """The density now, overall: that of the last row where it is of this step, so that it is counted once."""
        last = self.rows[-1] if self.rows else {}
        found = last.get("density") if last.get("step") == pruning.done else None
        return found["overall"] if found else pruning.density().overall


class Progress:
    """Says on standard error how far a training is; use it in a ``with``.

    Args:
        total: Steps, over all rounds.
        shown: False for silence.
    """

    def __init__(self, total: int, shown: bool = True) -> None:
        self._total, self._shown = total, shown
        self._bar: Bar | None = None
        self._began: tuple[float, int] | None = None
        self._drawn = 0.0

    def __enter__(self) -> Progress:
        with preserved_rng():  # rich draws when it is imported, and the training is seeded already
            if self._shown and (sys.stderr.isatty() or in_notebook()):
                self._bar = bar(self._total)
                self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, done: int) -> None:
        """Training begins, or goes on after ``done`` steps."""
        self._began = time.monotonic(), done
        if done and self._shown and self._bar is None:
            _write(f"goes on after step {done}/{self._total}")

    def __call__(self, step: int, standing: Standing, row: bool) -> None:
        """Step ``step`` is done.

        Args:
            step: From 1 on.
            standing: Losses and density.
            row: The history has a new row, so that losses are at hand.
        """
        if not self._shown:
            return
        if self._bar is not None:
            self._draw(self._bar, step, standing if row else None)
        elif step == self._total or step * _LINES // self._total > (step - 1) * _LINES // self._total:
            words = [f"step {step}/{self._total} ({step / self._total:.0%})", said(*standing())]
            _write("  ".join([*words, f"{self._left(step)} left"]))

    def stop(self, step: int, why: str) -> None:
        """Training stops before its last step."""
        if self._shown:
            _write(f"stopped at step {step}/{self._total}: {why}")

    def _draw(self, bar: Bar, step: int, standing: Standing | None) -> None:
        (task,) = bar.task_ids
        if standing is not None:
            bar.update(task, said=said(*standing()))
        now = time.monotonic()
        if now - self._drawn >= _FRAME or step == self._total:
            self._drawn = now
            bar.update(task, completed=step, left=self._left(step))
            bar.refresh()

    def _left(self, step: int) -> timedelta | str:
        if self._began is None or step <= self._began[1]:
            return "?"
        start, done = self._began
        return timedelta(seconds=round((time.monotonic() - start) / (step - done) * (self._total - step)))


def said(losses: Mapping[str, float], density: float) -> str:
    """Density and losses; the density first, since what does not fit a terminal is cut off at the end."""
    return "  ".join([f"density {density:.1%}", *(f"{task} {loss:.4g}" for task, loss in losses.items())])


def bar(total: int) -> Bar:
    """A bar that fits the terminal: steps, all steps, time left and as much of the rest as there is room for."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar
    from rich.table import Column

    rest = Column(no_wrap=True, overflow="ellipsis", ratio=1)
    made = Bar(
        TextColumn("{task.completed}/{task.total}"),
        BarColumn(bar_width=12),
        TextColumn("{task.fields[left]} left"),
        TextColumn("{task.fields[said]}", table_column=rest, markup=False),
        console=Console(stderr=True, highlight=False),
        auto_refresh=False,  # no thread of its own, for loaders may fork
        transient=True,
        expand=True,
    )
    made.add_task("", total=total, left="?", said="")
    return made


def in_notebook() -> bool:
    """Whether a bar can be drawn in a notebook: rich knows of it, and the widgets that it draws with are installed."""
    if "ipykernel" not in sys.modules or find_spec("ipywidgets") is None:
        return False
    from rich.console import Console

    return Console().is_jupyter


def _write(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
