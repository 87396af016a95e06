"""What a search has found so far, as plain values: its trials, and of these the winners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.runs.folder import RunFolder
from secateur.runs.search.objectives import Objective
from secateur.runs.search.space import Dimension, Value

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

Results = Mapping[str, Mapping[str, float]]
Report = Mapping[str, Any]


@dataclass(frozen=True)
class Tried:
    """One trial.

    Args:
        number: As Optuna counts.
        state: ``complete``, ``fail``, ``running`` or ``waiting``.
        settings: Option to value.
        values: The objectives, in order; empty unless it is complete.
        below: Task to how far below its floor it is, above zero where that is broken.
        folder: Of its run, within that of the search; empty before it begins.
        error: Why it failed.
        figures: Its figures on the validation split, and time where that was measured.
    """

    number: int
    state: str
    settings: Mapping[str, Value]
    values: tuple[float, ...] = ()
    below: Mapping[str, float] = field(default_factory=dict[str, float])
    folder: str = ""
    error: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def holds(self) -> bool:
        """Whether it is complete and breaks no floor."""
        return self.state == "complete" and all(found <= 0 for found in self.below.values())

    @property
    def dead(self) -> tuple[str, ...]:
        """Tasks whose prediction on the validation split is the same whatever the input."""
        return tuple(self.figures.get("dead") or ())


@dataclass(frozen=True)
class Found:
    """A search so far.

    Args:
        recipe: What was trained.
        space: What is searched over.
        objectives: What it is after.
        floors: Task to the share that it may lose.
        trials: In order.
        dense: Figures of the dense run on the validation split.
        reference: Its folder.
        tested: Number of a winner to its report on the test split, once all trials are finished.
    """

    recipe: str
    space: tuple[Dimension, ...]
    objectives: tuple[Objective, ...]
    floors: Mapping[str, float]
    trials: tuple[Tried, ...]
    dense: Results
    reference: str
    tested: Mapping[int, Report] = field(default_factory=dict[int, Report])

    @property
    def winners(self) -> tuple[Tried, ...]:
        """Of the trials that break no floor and are dead in no task, the best; under several objectives all that none is better than.

        They are ordered by the first objective, and among equals by when they were tried.
        """
        return winners(self.trials, self.objectives)


def winners(trials: Sequence[Tried], asked: Sequence[Objective]) -> tuple[Tried, ...]:
    """As :attr:`Found.winners`."""
    signs = [-1.0 if objective.direction == "maximize" else 1.0 for objective in asked]
    costs = {
        t.number: tuple(s * v for s, v in zip(signs, t.values, strict=True))
        for t in trials
        if t.holds and not t.dead
    }
    front: dict[tuple[float, ...], Tried] = {}
    for trial in trials:
        if trial.number not in costs:
            continue
        own = costs[trial.number]
        if not any(_dominates(other, own) for other in costs.values()):
            front.setdefault(own, trial)  # one of those that are the same
    return tuple(front[cost] for cost in sorted(front))


def _dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def tried(trial: FrozenTrial, out: Path) -> Tried:
    """A trial as the journal of the search in ``out`` has it, and where that is of before it said which are dead, its report."""
    said = trial.user_attrs
    figures, folder = said.get("figures", {}), said.get("folder", "")
    if figures and folder and "dead" not in figures:
        report = RunFolder(out / folder).read_report() or {}
        figures = {**figures, "dead": report.get("dead", [])}
    settings = trial.params or trial.system_attrs.get("fixed_params", {})
    return Tried(
        trial.number,
        trial.state.name.lower(),
        settings,
        tuple(trial.values or ()),
        said.get("below", {}),
        folder,
        said.get("error", ""),
        figures,
    )
