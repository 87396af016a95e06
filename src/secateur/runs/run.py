"""One run: from a configuration to a folder with weights, figures and a report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal, cast

import torch
from lightning_fabric import Fabric

from secateur.data import Data
from secateur.measures import Overlap, evaluate, overlap
from secateur.problem import Problem
from secateur.pruning import Sparsifier
from secateur.runs import references
from secateur.runs.beside import make_callbacks, make_optimizer, make_schedule, make_trackers, named
from secateur.runs.config import Config, build
from secateur.runs.folder import RunFolder
from secateur.runs.hardware import on_device, torch_device
from secateur.runs.names import Trust, find
from secateur.runs.problems import make_problem, read_problem
from secateur.runs.result import Report, Split, figures, finite, keep, of_split, showing, titled
from secateur.storage import load, write_text
from secateur.training import Distillation, Row, Snapshots, aggregator, check_floors, fit
from secateur.weighting import Weighting


def train(
    config: Config,
    path: Path,
    *,
    against: Path | None = None,
    workers: int = 0,
    command: str = "",
    name: str = "",
    trust: Trust | None = None,
    device: str = "auto",
    progress: bool = True,
    track: Sequence[str] = (),
    snapshots: int | None = None,
    split: Split = "test",
) -> Report:
    """Trains, evaluates on the test split once, and writes the run folder; what is done already is not done again.

    With ``split="val"`` the figures and pictures are those of the validation split and the test split is left alone, so that
    settings can be chosen by them; the same call with ``"test"`` then evaluates the chosen one, without training again.

    Args:
        config: Resolved, of :func:`secateur.runs.config.resolved`.
        path: The run folder.
        against: Folder of the dense reference; looked for among the neighbours of ``path`` if None.
        workers: Processes that load data.
        command: For the record.
        name: What reports call the run; the method's name if empty.
        trust: Whose parts may be imported; ours alone if None.
        device: ``cpu``, ``cuda``, ``cuda:1``, or ``auto``: a GPU where there is one. It tells no run from another.
        progress: Say on standard error how far training is.
        track: Names of trackers to show the training in.
        snapshots: Steps between two files of weights in ``path``; None for none.
        split: Of the figures: ``test``, or ``val`` while settings are being chosen.

    Returns:
        The content of ``report.json``.

    Raises:
        ValueError: If the configuration cannot be run, ``path`` holds another one, or there is no such split.
        ImportError: If the package of a tracker is missing.
        FileNotFoundError: If data are missing.
        FloatingPointError: If a loss is not finite.
        OSError: If the folder cannot be written.
    """
    folder, trust = RunFolder(path), trust or Trust()
    reference = None if against is None else references.given(RunFolder(against), config, split)
    if folder.config.exists():
        folder.claim(config)
    if folder.finished and (done := folder.read_report()) is not None:
        return of_split(split, done, path, against, trust, device)
    fabric = Fabric(**on_device(device), precision=config["precision"])
    problem, data = make_problem(config, workers, trust)
    shown, seen = showing(split, problem, data)
    method = cast(Sparsifier, build("method", config, trust))
    weighting = cast(Weighting, build("weighting", config, trust))
    distillation = _teacher(config, data, trust)
    combine = aggregator(config["aggregator"], partial(find, "aggregator", trust=trust))
    optimizer, schedule = make_optimizer(config, trust), make_schedule(config)
    callbacks = make_callbacks(config, trust)
    callbacks += make_trackers(track, path, config)
    callbacks += [Snapshots(path / "snapshots", snapshots)] if snapshots is not None else []
    if config["floors"] is not None:
        check_floors(problem, method, config["floors"], config["tries"])
    judged = _judged(config, problem, reference or references.neighbour(folder, config, split)[0])
    made = not path.exists()
    folder.claim(config)

    def record(rows: list[Row]) -> None:
        write_text(folder.metrics, "".join(json.dumps(finite(row)) + "\n" for row in rows))

    with folder.held():
        if folder.finished and (done := folder.read_report()) is not None:
            return of_split(
                split, done, path, against, trust, device
            )  # by a process that began with this one
        with folder.abandoned(made):
            history = fit(
                problem,
                method,
                weighting,
                steps=config["steps"],
                optimizer=optimizer,
                schedule=schedule,
                seed=config["seed"],
                fabric=fabric,
                checkpoint=folder.checkpoint,
                validate_every=config["validate_every"],
                accumulate=1 if config.get("accumulate") is None else config["accumulate"],
                distillation=distillation,
                aggregator=combine,
                recalibrate=config["recalibrate"],
                floors=config["floors"],
                reference=judged,
                tries=config["tries"],
                callbacks=callbacks,
                on_log=record,
                progress=progress,
            )
        keep(folder, config, shown, seen)
        report = figures(config, shown, seen, history.seconds, command)
        report |= {"rounds": method.rounds, "steps_in_all": method.total(config["steps"])}
        report["floors"] = {"asked": config["floors"], "attempts": [a.to_dict() for a in history.attempts]}
        if history.stopped:
            report["stopped"] = {"step": history.rows[-1]["step"], "why": history.stopped}
        if history.kept is not None:
            report["kept"] = {"step": history.kept}
        report["name"] = titled(name or report["method"].rpartition(".")[2], split)
        report["split"] = split
        report["delta_t"] = references.found(report, reference, folder, config)
        write_text(folder.report, json.dumps(finite(report), indent=1))
        return report


def _teacher(config: Config, data: Data, trust: Trust) -> Distillation | None:
    """The network of the run that ``teacher`` names, to learn from."""
    if config["teacher"] is None:
        return None
    folder = RunFolder(Path(config["teacher"]))
    if folder.read_report() is None:
        raise ValueError(f"teacher: no finished run in {folder.path}; train it first.")
    network = cast(
        torch.nn.Module,
        build("model", folder.read_config(), trust.reading(folder.config), tasks=data.channels),
    )
    load(network, folder.weights)
    return Distillation(network, config["distill"])


def _judged(config: Config, problem: Problem, reference: Report | None) -> dict[str, dict[str, float]] | None:
    """Metrics on the validation split of the dense run that floors and ΔT refer to; None where there is none yet, or none is asked."""
    against = any(options.get("metric") == "delta_t" for _, options in named(config.get("callbacks")))
    if (config["floors"] is None and not against) or reference is None:
        return None
    initial = {name: value.clone() for name, value in problem.model.state_dict().items()}
    load(problem.model, RunFolder(Path(reference["folder"])).weights)
    found = evaluate(problem, "val")
    problem.model.load_state_dict(initial)
    return found


def evaluate_run(
    path: Path, split: Literal["val", "test"] = "test", trust: Trust | None = None, device: str = "auto"
) -> dict[str, dict[str, float]]:
    """Metrics of a finished run's weights, computed anew.

    Raises:
        FileNotFoundError: If the run has no weights yet.
        ValueError: If its configuration names what is neither ours nor trusted, or the device is not here.
    """
    folder, place = RunFolder(path), torch_device(device)
    problem, _ = read_problem(folder, trust)
    load(problem.model, folder.weights)
    problem.model.to(place)
    return evaluate(problem, split)


def overlap_run(
    path: Path, density: float = 0.1, batches: int = 4, trust: Trust | None = None, device: str = "auto"
) -> Overlap:
    """Where the tasks of a finished run agree about the weights that they share; written beside it for the report.

    Raises:
        FileNotFoundError: If the run has no weights yet.
        ValueError: If no weight is shared, a setting is out of range, or a part is neither ours nor trusted.
    """
    folder, place = RunFolder(path), torch_device(device)
    problem, _ = read_problem(folder, trust)
    load(problem.model, folder.weights)
    problem.model.to(place)
    found = overlap(problem, density, batches=batches)
    write_text(folder.overlap, json.dumps(found.to_dict(), indent=1))
    return found
