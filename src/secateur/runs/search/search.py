"""Settings of a recipe by search: each trial a run folder, chosen by validation alone, resumable wherever it is killed."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from secateur.deployment.bench import EngineName, require_engine
from secateur.problem import check_count, preserved_rng
from secateur.runs.arguments import given, spelt_out, trusted
from secateur.runs.config import parse, resolved, telling
from secateur.runs.folder import differences
from secateur.runs.problems import make_problem
from secateur.runs.search.found import Found, Tried, tried
from secateur.runs.search.journal import Journal, check_installed
from secateur.runs.search.locks import Locks
from secateur.runs.search.objectives import objectives
from secateur.runs.search.reference import Reference, judged, reference_of
from secateur.runs.search.shown import write
from secateur.runs.search.space import Dimension, read_space
from secateur.runs.search.trial import Trials
from secateur.runs.study import Trainer, Where, ray_place
from secateur.runs.written import said
from secateur.storage import is_leftover, write_new

OnDone = Callable[[Tried, int, int], object]
Sampler = Literal["tpe", "random"]
_CLAIM, _LOCKS = "search.claim.json", ".locks"


def search(
    recipe: str,
    options: Sequence[str] = (),
    *,
    over: str | Mapping[str, Any],
    trials: int,
    out: Path,
    objectives: Sequence[str] = ("delta_t",),
    floors: Mapping[str, float] | None = None,
    against: Path | None = None,
    engine: EngineName = "onnxruntime",
    sampler: Sampler = "tpe",
    jobs: int | None = None,
    workers: int = 0,
    where: Where | None = None,
    command: str = "",
    on_done: OnDone | None = None,
) -> Found:
    """Trains a recipe with other settings again and again, and says which did best on the validation split.

    Every trial is a run folder under ``out/trials``, of which the test split stays unseen until all are finished; then the winner alone,
    under several objectives all that none is better than, is evaluated on it, once. The same call goes on where one was stopped, however
    that was; several processes may share ``out``. ``trials`` may be raised later.

    Args:
        recipe: Packaged name or path.
        options: Of ``secateur train``, for every trial.
        over: Option to its range or choices: ``{"method.density": [0.05, 0.2], "lr": "log 1e-4 1e-2"}``, as YAML, or a file of it.
        trials: How many in all.
        out: Folder of the search.
        objectives: ``delta_t``, ``time`` (share of the dense network's, measured), ``density``, ``parameters``, ``macs``, or a task's metric.
        floors: Task to the share of its validation metrics that it may lose against dense; a trial that loses more cannot win.
        against: Run folder of the dense reference; one is trained first if None.
        engine: In which ``time`` is measured.
        sampler: ``tpe``, or ``random``, which every other must beat.
        jobs: Trials at a time: one on each GPU if None, one on a CPU.
        workers: Processes that load data, a trial.
        where: Trials train on this machine if None, or on a Ray cluster; their time is measured here.
        command: For the record.
        on_done: Called with a trial, how many are done, and how many there are to be.

    Raises:
        ImportError: If Optuna is not installed.
        ValueError: If the space, the objectives or the floors make no sense, or ``out`` holds another search; before anything trains.
        RuntimeError: If the dense run or the first trials fail.
    """
    check_installed()
    check_count("--trials", trials, remedy="at least 1 is needed")
    space = read_space(over, recipe, options)
    _check_options(options)
    configs = checked(space, recipe, options)
    reference = Reference(recipe, tuple(options), out, against, dict(floors or {}), "delta_t" in objectives)
    asked = _asked(objectives, configs[0], options, reference)
    settings = {
        "recipe": telling(configs[0]),
        "over": {d.option: d.said() for d in space},
        "objectives": list(objectives),
        "floors": dict(floors or {}),
        "sampler": sampler,
        "against": None if against is None else str(against),
    } | ({"engine": engine} if "time" in objectives else {})
    if "time" in objectives:
        require_engine(engine)
    _claim(out, settings)
    locks = Locks(out / _LOCKS)
    on_ray = where is not None and where.on == "ray"
    here = nullcontext(Trainer(out, jobs=jobs, workers=workers))
    opened = ray_place([options], out, where, count=jobs, workers=workers) if where and on_ray else here
    with _quiet(), opened as trainer:
        dense = reference_of(reference, trainer, locks, configs[0])
        journal = Journal(out, space, asked, seed=int(configs[0]["seed"]), sampler=sampler, locks=locks)
        journal.retry()
        work = Trials(reference, space, asked, dense, engine, journal, trainer, locks)

        def found() -> Found:
            known = tuple(tried(trial, out) for trial in journal.trials())
            return Found(recipe, space, asked, reference.floors, known, dense.tasks, str(dense.folder))

        def done(number: int) -> None:
            now = found()
            with locks.held("writing"):
                write(now, out, options, command)
            if on_done:
                finished = sum(t.state in ("complete", "fail") for t in now.trials)
                on_done(next(t for t in now.trials if t.number == number), finished, len(now.trials))

        with ThreadPoolExecutor(trainer.count) as pool:
            try:
                for future in [pool.submit(work.run, trials, done) for _ in range(trainer.count)]:
                    future.result()
            except BaseException:
                trainer.stop.set()
                raise
        last = found()
        with locks.held("writing"):
            last = replace(last, tested=judged(last, reference, dense))
            write(last, out, options, command)
        return last


@contextmanager
def _quiet() -> Generator[None]:
    """Without what Optuna says of every study and trial; what counts is said by ``on_done``."""
    from optuna import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.WARNING)
    try:
        yield
    finally:
        logging.set_verbosity(before)


def checked(space: Sequence[Dimension], recipe: str, options: Sequence[str]) -> list[dict[str, Any]]:
    """The configurations at the ends of every range and with every choice, others at their first, each one that can be run.

    Raises:
        ValueError: If one cannot; names the option and its value.
    """
    from secateur.runs.config import build

    first = [d.word(d.values[0]) for d in space]
    made: list[dict[str, Any]] = []
    for place, d in enumerate(space):
        for value in d.values:
            words = [*options, *first[:place], d.word(value), *first[place + 1 :]]
            try:
                config = resolved(parse([recipe, *words], exits=False))
                for kind in ("method", "weighting"):
                    build(kind, config, trusted(words))
            except ValueError as error:
                raise ValueError(
                    f"--over {d.option}: {recipe} cannot be run with {d.word(value)}: {error}"
                ) from error
            made.append(config)
    return made


def _check_options(options: Sequence[str]) -> None:
    for option in ("--out", "--split", "--against", "--floors"):
        if given([spelt_out(o) for o in options], option):
            raise ValueError(f"search: {option} is not for a trial; use that of the search, or leave it out.")


def _asked(names: Sequence[str], config: dict[str, Any], options: Sequence[str], reference: Reference) -> Any:
    """The objectives, held against the data, whose tasks and metrics they and the floors name."""
    from secateur.measures import higher_is_better
    from secateur.training import check_allowed

    with preserved_rng():
        problem, _ = make_problem(config, trust=trusted(options))
    if problem.val is None:
        raise ValueError("search: these data have no validation split, by which alone settings are chosen.")
    if reference.floors:
        check_allowed(problem, reference.floors)
    return objectives(names, higher_is_better(problem.tasks))


def _claim(out: Path, settings: Mapping[str, Any]) -> None:
    """Makes ``out`` the folder of this search.

    Raises:
        ValueError: If it holds another one, or something else.
    """
    path = out / _CLAIM
    if not path.exists():
        inside = out.iterdir() if out.is_dir() else ()
        if out.exists() and (not out.is_dir() or not all(map(is_leftover, inside))) and not path.exists():
            raise ValueError(f"{out} exists and is no folder of a search; choose another --out.")
        if write_new(path, json.dumps(settings, indent=1, sort_keys=True) + "\n"):
            return
    try:
        held: Any = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read ({said(error)}); choose another --out.") from error
    if told := list(differences(held if isinstance(held, Mapping) else {}, json.loads(json.dumps(settings)))):
        raise ValueError(
            f"{out} holds a search with other settings: {'; '.join(told[:4])}. Choose another --out, or delete the folder."
        )
