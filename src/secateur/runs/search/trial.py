"""One trial after another: its settings to a run folder, and that to the numbers by which the next are chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from secateur.deployment.bench import EngineName
from secateur.runs.arguments import trusted
from secateur.runs.config import digest, parse, resolved
from secateur.runs.deploy import bench_runs, compact_run
from secateur.runs.folder import RunFolder
from secateur.runs.search.journal import Journal
from secateur.runs.search.locks import Locks, StoppedError
from secateur.runs.search.objectives import Objective, below, delta, lost, on_validation, values
from secateur.runs.search.reference import Dense, Reference
from secateur.runs.search.space import Dimension
from secateur.runs.study import Place
from secateur.runs.written import said

if TYPE_CHECKING:
    from optuna.trial import Trial

_ENOUGH = 3  # failures before anything succeeds, after which more would be the same


@dataclass
class Trials:
    """What trains the trials of a search; threads may share it.

    Args:
        reference: What they are trials of, and where.
        space: What is searched over.
        asked: The objectives.
        dense: What they are measured against.
        engine: In which time is measured, where it is asked for.
        journal: Where trials come from.
        trainer: What trains them.
        locks: Of the folder.
    """

    reference: Reference
    space: tuple[Dimension, ...]
    asked: tuple[Objective, ...]
    dense: Dense
    engine: EngineName
    journal: Journal
    trainer: Place
    locks: Locks
    _failed: list[str] = field(default_factory=list[str])
    _counting: Any = field(default_factory=Lock)

    def run(self, count: int, done: Callable[[int], object]) -> None:
        """Runs trials until ``count`` are finished, waiting for those that others have under way.

        Raises:
            RuntimeError: If the first ones all fail.
        """
        stop = self.trainer.stop
        try:
            while not stop.is_set():
                taken = self.journal.take(count, stop)
                if isinstance(taken, bool):
                    if not taken:
                        return
                    stop.wait(0.2)
                    continue
                trial, lock = taken
                with lock:
                    self._one(trial)
                done(trial.number)
                self._check()
        except StoppedError:
            return

    def _check(self) -> None:
        """Ends a search that does nothing but fail."""
        with self._counting:
            if len(self._failed) < _ENOUGH or any(t.values for t in self.journal.trials()):
                return
        raise RuntimeError(
            f"the first {len(self._failed)} trials failed ({self._failed[-1]}); what they said is in "
            f"{self.reference.out / 'logs'}. The same command tries them again."
        )

    def _one(self, trial: Trial) -> None:
        """Trains, measures and tells one trial.

        Raises:
            StoppedError: If it was stopped meanwhile; the trial is then still under way, and whoever comes next goes on with it.
        """
        from optuna.trial import TrialState

        words = [
            *self.reference.options,
            *(d.word(trial.params[d.option]) for d in self.space),
            "--split=val",
        ]
        study = self.journal.study
        try:
            found, report = self._report(trial, words)
            tasks, better = on_validation(report), report["higher_is_better"]
            numbers = values(self.asked, report, self.dense.tasks, found.get("time"))
        except (ValueError, OSError, ImportError, RuntimeError, KeyError) as error:
            trial.set_user_attr("error", said(error, 400))
            study.tell(trial, state=TrialState.FAIL)
            with self._counting:
                self._failed.append(said(error))
            return
        gone = lost(tasks, self.dense.tasks, better)
        under = below(gone, self.reference.floors)
        found |= {"tasks": tasks, "lost": gone, "delta_t": delta(tasks, self.dense.tasks, better)}
        trial.set_user_attr("figures", found)
        trial.set_user_attr("below", under)
        for task in sorted(under.keys() - self.journal.constraints(trial.number)):
            trial.set_constraint(task, under[task])
        study.tell(trial, numbers)

    def _report(self, trial: Trial, words: list[str]) -> tuple[dict[str, Any], Mapping[str, Any]]:
        """What is measured beside, and the content of ``report.json``."""
        recipe, out = self.reference.recipe, self.reference.out
        name = f"trials/{digest(resolved(parse([recipe, *words], exits=False)))}"
        trial.set_user_attr("folder", name)
        folder = RunFolder(out / name)
        with self.locks.held(f"run-{folder.path.name}", self.trainer.stop):  # another trial may be the same
            error = None if folder.finished else self.trainer.train(name, [recipe, *words])
            if self.trainer.stop.is_set():
                raise StoppedError
            report = folder.read_report()
            if error or report is None:
                raise RuntimeError(error or f"{folder.path} has no report")
            found = {
                "density": report["density"]["overall"],
                "parameters": report["params"]["nonzero"],
                "macs": report["macs"]["sparse"],
                "dead": list(report.get("dead") or ()),
            }
            if any(objective.name == "time" for objective in self.asked):
                found |= self._timed(folder.path, words)
        return found, report

    def _timed(self, path: Path, words: list[str]) -> dict[str, Any]:
        """Share of the dense network's time, and milliseconds, measured in turns with it; one timing at a time."""
        trust = trusted(words)
        with self.locks.held("timing", self.trainer.stop):
            if not RunFolder(path).compact.exists():
                compact_run(path, trust=trust)
            made = bench_runs([path], [self.engine], against=self.dense.folder, trust=trust)
            own = next(m for name, m in made.measures[self.engine].items() if name != made.against)
        return {"time": 1 / own.speedup, "ms": own.p50, "engine": self.engine}
