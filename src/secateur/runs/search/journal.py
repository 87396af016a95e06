"""The trials of a search, in Optuna's journal: threads and processes take them in turn, and what was killed is taken up again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Event
from typing import IO, TYPE_CHECKING, Any

from secateur.runs.search.locks import Locks, fcntl
from secateur.runs.search.objectives import Objective
from secateur.runs.search.space import Dimension, Value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

NAME = "journal.log"
_STUDY = "search"
_AGAIN = "again"  # the failed trial that this one stands for


def check_installed() -> None:
    """Raises ImportError that says what to install."""
    try:
        import optuna
    except ImportError as error:
        raise ImportError(
            f"secateur search needs Optuna ({error}): pip install 'secateur[search]'"
        ) from error
    if int(optuna.__version__.partition(".")[0]) < 5:
        raise ImportError(
            f"secateur search needs Optuna 5 and finds {optuna.__version__}: pip install 'secateur[search]'"
        )


class Journal:
    """The study in the folder of a search.

    Args:
        out: The folder.
        space: What is searched over.
        asked: What it is after.
        seed: Of what is chosen: a trial's settings depend on it, on its number and on the trials that were finished, nothing else.
        sampler: ``tpe``, or ``random``.
    """

    def __init__(
        self,
        out: Path,
        space: Sequence[Dimension],
        asked: Sequence[Objective],
        *,
        seed: int,
        sampler: str,
        locks: Locks,
    ) -> None:
        import optuna
        from optuna.samplers import RandomSampler
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        self.seed, self.sampler, self._space, self._locks = seed, sampler, space, locks
        self._distributions = {d.option: _distribution(d) for d in space}
        self.directions: list[Any] = [objective.direction for objective in asked]
        path = out / NAME
        lock: Any = None if fcntl is None else _Lock(path, locks)
        backend = JournalFileBackend(str(path), lock)
        with locks.held("asking"):
            self.study: Study = optuna.create_study(
                storage=JournalStorage(backend),
                sampler=RandomSampler(
                    seed=seed
                ),  # decides nothing: what a trial is to be is written before it begins
                study_name=_STUDY,
                directions=self.directions,
                load_if_exists=True,
            )
            if "names" not in self.study.user_attrs:
                self.study.set_user_attr("names", [objective.name for objective in asked])

    def trials(self) -> list[FrozenTrial]:
        """All that count: a failed one that was tried again is left out."""
        found = self.study.get_trials(deepcopy=False)
        replaced = {trial.user_attrs[_AGAIN] for trial in found if _AGAIN in trial.user_attrs}
        return [trial for trial in found if trial.number not in replaced]

    def constraints(self, number: int) -> set[str]:
        """Those that a trial has already, as one does that was killed after them."""
        trial = next(t for t in self.study.get_trials(deepcopy=False) if t.number == number)
        return {key.partition(":")[2] for key in trial.system_attrs if key.startswith("constraints:")}

    def retry(self) -> None:
        """Puts the trials that failed in line once more."""
        from optuna.trial import TrialState

        with self._locks.held("asking"):
            for trial in self.trials():
                if trial.state == TrialState.FAIL:
                    self.study.enqueue_trial(trial.params, {_AGAIN: trial.number})

    def take(self, count: int, stop: Event) -> tuple[Trial, IO[str]] | bool:
        """The next trial with the lock that says who has it: one that nobody runs any more, one in line, or a new one.

        Args:
            count: Of trials in all.
            stop: Ends the waiting.

        Returns:
            Or True where all are under way and some may yet come back, False where all are finished.

        Raises:
            StoppedError: If ``stop`` is set first.
        """
        from optuna.trial import Trial, TrialState

        with self._locks.held("asking", stop):
            known = self.trials()
            for trial in known:
                if trial.state == TrialState.RUNNING and (lock := self._locks.take(f"trial-{trial.number}")):
                    if self._is_running(trial.number):  # and was not finished since it was looked at
                        return self._filled(Trial(self.study, trial._trial_id)), lock  # pyright: ignore[reportPrivateUsage]
                    lock.close()
            if not any(trial.state == TrialState.WAITING for trial in known):
                if len(known) >= count:
                    return any(trial.state == TrialState.RUNNING for trial in known)
                self.study.enqueue_trial(self._chosen(known))
            trial = self._filled(self.study.ask())
            lock = self._locks.take(f"trial-{trial.number}")
            assert lock is not None, "who has the lock `asking` alone takes trials"
            return trial, lock

    def _is_running(self, number: int) -> bool:
        from optuna.trial import TrialState

        found = self.study.get_trials(deepcopy=False)
        return any(trial.number == number and trial.state == TrialState.RUNNING for trial in found)

    def _filled(self, trial: Trial) -> Trial:
        """The trial with all that it is to be, which was written when it was put in line."""
        for d in self._space:
            if d.kind == "choice":
                trial.suggest_categorical(d.option, d.values)
            else:
                low, high = d.ends
                suggest: Any = trial.suggest_int if d.whole else trial.suggest_float
                suggest(d.option, low, high, log=d.kind == "log")
        return trial

    def _chosen(self, known: Sequence[FrozenTrial]) -> dict[str, Value]:
        """The settings of one more trial, of a sampler that is as fresh in every process."""
        import optuna
        from numpy.random import SeedSequence
        from optuna.samplers import RandomSampler, TPESampler
        from optuna.trial import TrialState

        seed = int(SeedSequence([self.seed, len(known)]).generate_state(1)[0])
        made = TPESampler(seed=seed) if self.sampler == "tpe" else RandomSampler(seed=seed)
        copy = optuna.create_study(sampler=made, directions=self.directions)
        copy.add_trials([t for t in known if t.state in (TrialState.COMPLETE, TrialState.RUNNING)])
        return copy.ask(self._distributions).params


def _distribution(d: Dimension) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if d.kind == "choice":
        return CategoricalDistribution(d.values)
    low, high = d.ends
    log = d.kind == "log"
    return IntDistribution(int(low), int(high), log=log) if d.whole else FloatDistribution(low, high, log=log)


class _Lock:
    """A lock of the journal that ends with its process; Optuna's own does not, and is waited for half a minute.

    It also takes away the line that a killed process wrote half of, onto which the next would be written.
    """

    def __init__(self, path: Path, locks: Locks) -> None:
        self._path, self._locks = path, locks
        self._held: Any = None

    def acquire(self) -> bool:
        self._held = self._locks.held("journal")
        self._held.__enter__()
        with self._path.open("rb") as file:
            text = file.read()
        if not text.endswith(b"\n") and text:
            with self._path.open("rb+") as file:
                file.truncate(text.rfind(b"\n") + 1)
        return True

    def release(self) -> None:
        self._held.__exit__(None, None, None)
