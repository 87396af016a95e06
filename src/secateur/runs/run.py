"""One run: from a configuration to a folder with weights, figures and a report."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import torch

from secateur.data import Data
from secateur.measures import Overlap, evaluate, overlap
from secateur.problem import Problem, check_same, from_first, preserved_rng
from secateur.pruning import Sparsifier
from secateur.runs import references
from secateur.runs.beside import judges, make_callbacks, make_optimizer, make_schedule, make_trackers
from secateur.runs.config import Config, build, digest
from secateur.runs.folder import RunFolder, no_run
from secateur.runs.hardware import torch_device
from secateur.runs.kept import is_damaged, load_weights
from secateur.runs.names import Trust, find
from secateur.runs.problems import make_problem, read_problem
from secateur.runs.processes import Devices, started
from secateur.runs.result import Report, Split, figures, finite, keep, of_split, renewed, showing, titled
from secateur.storage import network_state, put_back, row_lines, write_text
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
    device: Devices | str = "auto",
    words: Sequence[str] = (),
    progress: bool = True,
    track: Sequence[str] = (),
    snapshots: int | None = None,
    split: Split = "test",
) -> Report:
    """Trains, evaluates on the test split once, and writes the run folder; what is done already is not done again.

    With ``split="val"`` the figures and pictures are those of the validation split and the test split is left alone, so that
    settings can be chosen by them; the same call with ``"test"`` then evaluates the chosen one, without training again.
    Of several processes the first decides, writes and evaluates, and returns the figures; the others return none.

    Args:
        config: Resolved, of :func:`secateur.runs.config.resolved`.
        path: The run folder.
        against: Folder of the dense reference; looked for among the neighbours of ``path`` if None.
        workers: Processes that load data.
        command: For the record.
        name: What reports call the run; the method's name if empty.
        trust: Whose parts may be imported; ours alone if None.
        device: ``cpu``, ``cuda``, ``cuda:1``, or ``auto``: a GPU where there is one; or several. They tell no run from another.
        words: Of the command line that starts the other processes, see :func:`~secateur.runs.processes.started`.
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
        ElsewhereError: If another process of this training has failed, and has said why.
    """
    folder, trust = RunFolder(path), trust or Trust()
    devices = device if isinstance(device, Devices) else Devices(device)

    def done() -> Report | None:
        return folder.read_report() if folder.finished and not is_damaged(folder.weights) else None

    def begun() -> dict[str, Any]:
        reference = None if against is None else references.given(RunFolder(against), config, split)
        if folder.config.exists():
            folder.claim(config)
        return {"reference": reference, "done": done()}

    def shown_again(found: Mapping[str, Any]) -> Report:
        report = of_split(split, found["done"], path, against, trust, devices.device)
        return (
            report
            if report.get("split", "test") != split
            else renewed(report, found["reference"], folder, config)
        )

    if not devices.several and (found := begun())["done"] is not None:
        return shown_again(found)
    fabric = devices.fabric(config["precision"])
    with started(fabric, devices.several, words) as processes, ExitStack() as stack:
        found = from_first(begun, fabric.device)
        if found["done"] is not None:
            processes.part()
            return shown_again(found) if processes.first else {}
        check_same({"its configuration": digest(config)}, fabric.device, "Start all with the same command.")
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
        reference = cast(Report | None, found["reference"])
        near = from_first(lambda: reference or references.neighbour(folder, config, split)[0], fabric.device)
        judged = _judged(config, problem, near)
        made = not path.exists()
        if processes.first:
            folder.claim(config)
            stack.enter_context(folder.held())
        if (finished := from_first(done, fabric.device)) is not None:
            processes.part()  # by a process that began with this one
            return shown_again({**found, "done": finished}) if processes.first else {}
        if processes.first:
            stack.enter_context(folder.abandoned(made))

        def record(rows: list[Row]) -> None:
            write_text(folder.metrics, row_lines(map(finite, rows)))

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
            on_log=record if processes.first else None,
            progress=progress,
        )
        processes.part()
        if not processes.first:
            return {}
        keep(folder, config, shown, seen)
        report = figures(config, shown, seen, history.seconds, command)
        report |= {"processes": processes.world} if processes.world > 1 else {}
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
        elsewhere = folder.path.exists() and not folder.config.exists()
        why = no_run(folder.path) if elsewhere else f"no finished run in {folder.path}; train it first."
        raise ValueError(f"teacher: {why}")
    network = cast(
        torch.nn.Module,
        build("model", folder.read_config(), trust.reading(folder.config), tasks=data.channels),
    )
    load_weights(network, folder.weights)
    return Distillation(network, config["distill"])


def _judged(config: Config, problem: Problem, reference: Report | None) -> dict[str, dict[str, float]] | None:
    """Metrics on the validation split of the dense run that floors and ΔT refer to; None where there is none yet, or none is asked."""
    if reference is None or not judges(config):
        return None
    initial = network_state(problem.model)
    load_weights(problem.model, RunFolder(Path(reference["folder"])).weights)
    found = evaluate(problem, "val")
    put_back(problem.model, initial)
    return found


@preserved_rng()
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
    load_weights(problem.model, folder.weights)
    problem.model.to(place)
    return evaluate(problem, split)


@preserved_rng()
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
    load_weights(problem.model, folder.weights)
    problem.model.to(place)
    found = overlap(problem, density, batches=batches)
    try:
        write_text(folder.overlap, json.dumps(found.to_dict(), indent=1))
    except OSError as error:  # the figures were worth the time all the same
        warnings.warn(f"overlap: {error}", stacklevel=3)
    return found
