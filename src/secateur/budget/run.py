"""Runs pruned to budgets: from a run folder, or a configuration and weights, to a folder for each network."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import nn

from secateur.budget.folders import asked, claimed, folders_of
from secateur.budget.limits import Budget, Kind, over
from secateur.budget.measured import File
from secateur.budget.prune import Options, networks
from secateur.budget.record import BudgetError, Record, record_of
from secateur.deployment.export import int8_suffix
from secateur.measures import count_macs, layer_rows
from secateur.problem import Input, Problem, components, example, one
from secateur.runs import (
    Config,
    RunFolder,
    Trust,
    about_file,
    compared,
    export_run,
    figures,
    finite,
    keep,
    make_problem,
    parse_size,
    read_problem,
)
from secateur.storage import load_weights, write_text
from secateur.training import adam


def prune_run(
    source: Path | Config,
    budgets: Sequence[Budget],
    out: Path,
    *,
    weights: Path | None = None,
    size: str | None = None,
    lr: float = 3e-4,
    command: str = "",
    trust: Trust | None = None,
    **options: Unpack[Options],
) -> list[Path]:
    """Prunes a trained network to each budget and writes a run folder for each; what is finished already is not done again.

    A family that was stopped begins with its first network again, and those that are finished stay as they were written.

    Args:
        source: A run folder, or the configuration of a network and data.
        budgets: From the loosest to the tightest; of several each gets a folder in ``out``.
        out: The folder.
        weights: Of the network that ``source`` configures: a state dict (``.pt``, ``.pth``, ``.safetensors``) or a file of :func:`secateur.save`.
        size: ``HEIGHTxWIDTH`` of the input that costs are measured on; that of the data if None.
        lr: Learning rate of Adam, which trains between and after.
        command: For the record.
        trust: Whose parts may be imported; ours alone if None.
        options: As of :func:`secateur.prune`, but for ``optimizer`` and ``on``; all that decides the result is plain.

    Returns:
        The folders.

    Raises:
        FileNotFoundError: If there are no weights.
        BudgetError: If a budget cannot be met; networks before it are written.
        ValueError: If ``out`` holds something else or networks of other options, weights are of another
            network, or an argument is unusable.
    """
    runs = folders_of(budgets, out)
    if isinstance(source, Path):
        dense_run = RunFolder(source)
        config, begun = dense_run.read_config(), weights or dense_run.weights
    else:
        config, begun = source, weights
    if begun is None:
        raise FileNotFoundError("prune: weights is None; give the file of the trained network.")
    plain = {key: value for key, value in options.items() if key != "progress"}
    configs = asked(config, budgets, begun, plain | {"lr": lr, "size": size})
    with claimed(runs, configs):
        done = {run.path for run in runs if run.finished}
        if len(done) == len(runs):
            return [run.path for run in runs]
        if isinstance(source, Path):
            problem, data = read_problem(RunFolder(source), trust)
        else:
            problem, data = make_problem(source, trust=trust)
        load_weights(problem.model, begun)
        on = options.get("on")
        options["on"] = on = _sized(one(example(problem)), size) if on is None else on
        options.setdefault("optimizer", adam(lr))
        began = time.perf_counter()
        reference = figures(config, problem, data, 0.0, "") | {"dense": True}
        reference["folder"] = str(source) if isinstance(source, Path) else "the network as it was"
        named = components(problem)
        before = _counted(problem.model, on, named)
        file = File(
            about_file(config, data), size is not None, one(next(iter(data.test))[0])
        )  # as export_run does
        made = networks(problem, budgets, file, **options)
        for run, budget in zip(runs, budgets, strict=True):
            small = next(made)  # each is written before the next is begun
            if run.path in done:  # as a family that was stopped left it
                continue
            pruned = Problem(small, data.tasks, data.train, data.val, data.test)
            report = figures(config, pruned, data, time.perf_counter() - began, command)
            report |= {"name": run.path.name, "dense": False, "method": "prune"}
            report["steps"] = options.get("steps", 2000)
            report["delta_t"] = compared(report, reference) | {"differs": ""}
            keep(run, config, pruned, data)
            record = record_of(small)
            report["before"] = before[0]
            told = {"budget": str(budget), **asdict(record)} if record else {}
            after = _counted(small, on, named)
            told |= {
                "before": before[0],
                "after": after[0],
                "layers": {"before": before[1], "after": after[1]},
                "reference": finite({key: reference[key] for key in ("tasks", "density", "params", "macs")}),
            }
            write_text(run.path / "budget.json", json.dumps(told, indent=1))
            write_text(run.metrics, "")  # nothing is logged on the way
            if record is not None and record.quantize:
                kind = "openvino" if int8_suffix(budget.engine) == ".xml" else "onnx"
                # of fixed size as it was measured, unless that was another than the data's
                export_run(run.path, kind, quantize=record.quantize, dynamic=file.dynamic, trust=trust)
                told["costs"] = _as_written(run, record)
                write_text(run.path / "budget.json", json.dumps(told, indent=1))
            write_text(run.report, json.dumps(finite(report), indent=1))  # that it is finished comes last
    return [run.path for run in runs]


def _as_written(run: RunFolder, record: Record) -> dict[Kind, float]:
    """The costs, with the megabytes of the file in int8 that lies in the folder.

    Raises:
        BudgetError: If these are more than may be.
    """
    if "mb" not in record.costs:
        return record.costs
    (written,) = json.loads(run.exports.read_text(encoding="utf-8")).values()
    costs: dict[Kind, float] = {**record.costs, "mb": written["bytes"] / 1e6}
    if over(record.limits, {**record.limits, "mb": costs["mb"]}):
        raise BudgetError(
            f"prune: the file in int8 of {run.path} has {costs['mb']:.6g} MB, {record.limits['mb']:.6g} may be; ask for a little less."
        )
    return costs


def _counted(
    model: nn.Module, x: Input, named: Mapping[str, tuple[str, ...]]
) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """Parameters and multiply-accumulates of a network, and of each of its layers, for the report."""
    rows = layer_rows(model, x, named)
    params = sum(parameter.numel() for parameter in model.parameters())
    return {"params": params, "macs": sum(count_macs(model, x).values())}, rows


def _sized(x: Input, size: str | None) -> Input:
    shape = parse_size(size)
    if shape is None:
        return x
    if not isinstance(x, torch.Tensor) or x.dim() != 4:
        raise ValueError("prune: a size is given, but the input is no image; leave it out.")
    return torch.nn.functional.interpolate(x, shape, mode="bilinear")
