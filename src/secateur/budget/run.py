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
    config = RunFolder(source).read_config() if isinstance(source, Path) else source
    begun = RunFolder(source).weights if weights is None and isinstance(source, Path) else weights
    if begun is None:
        raise FileNotFoundError("prune: weights is None; give the file of the trained network.")
    plain = {key: value for key, value in options.items() if key != "progress"}
    configs = asked(config, budgets, begun, plain | {"lr": lr, "size": size})
    with claimed(runs, configs):
        done = {run.path for run in runs if run.finished}
        if len(done) < len(runs):
            family = _Family(source, config, begun, size, command, options, trust)
            options["on"] = family.on
            options.setdefault("optimizer", adam(lr))
            made = networks(family.problem, budgets, family.file, **options)
            # each is written before the next is begun
            for run, budget, small in zip(runs, budgets, made, strict=True):
                if run.path not in done:  # as a family that was stopped left it
                    family.write(run, budget, small)
    return [run.path for run in runs]


class _Family:
    """The network as it was, its figures, and what is written of those that come of it.

    Args:
        source: As of :func:`prune_run`, whose ``config`` it is or has, with ``size``, ``command``, ``options`` and ``trust``.
        begun: Its weights.
    """

    def __init__(
        self,
        source: Path | Config,
        config: Config,
        begun: Path,
        size: str | None,
        command: str,
        options: Options,
        trust: Trust | None,
    ) -> None:
        known = isinstance(source, Path)
        self.problem, self.data = (
            read_problem(RunFolder(source), trust) if known else make_problem(source, trust=trust)
        )
        load_weights(self.problem.model, begun)
        on = options.get("on")
        self.on = _sized(one(example(self.problem)), size) if on is None else on
        self.config, self.command, self.steps, self.trust = config, command, options.get("steps", 2000), trust
        self.began = time.perf_counter()
        self.reference = figures(config, self.problem, self.data, 0.0, "") | {"dense": True}
        self.reference["folder"] = str(source) if known else "the network as it was"
        self.named = components(self.problem)
        self.before = _counted(self.problem.model, self.on, self.named)
        # as export_run writes it: of fixed size as it was measured, unless that was another than the data's
        self.file = File(about_file(config, self.data), size is not None, one(next(iter(self.data.test))[0]))

    def write(self, run: RunFolder, budget: Budget, small: nn.Module) -> None:
        """Weights, report, what was asked and what became of it, and the file in int8 where that was asked.

        Raises:
            BudgetError: If the file in int8 exceeds the budget.
        """
        data, record = self.data, record_of(small)
        pruned = Problem(small, data.tasks, data.train, data.val, data.test)
        report = figures(self.config, pruned, data, time.perf_counter() - self.began, self.command)
        report |= {"name": run.path.name, "dense": False, "method": "prune", "steps": self.steps}
        report["delta_t"] = compared(report, self.reference) | {"differs": ""}
        report["before"] = self.before[0]
        keep(run, self.config, pruned, data)
        after = _counted(small, self.on, self.named)
        told = {"budget": str(budget), **asdict(record)} if record else {}
        told |= {
            "before": self.before[0],
            "after": after[0],
            "layers": {"before": self.before[1], "after": after[1]},
            "reference": finite({key: self.reference[key] for key in ("tasks", "density", "params", "macs")}),
        }
        write_text(run.path / "budget.json", json.dumps(told, indent=1))
        write_text(run.metrics, "")  # nothing is logged on the way
        if record is not None and record.quantize:
            kind = "openvino" if int8_suffix(budget.engine) == ".xml" else "onnx"
            file = export_run(
                run.path, kind, quantize=record.quantize, dynamic=self.file.dynamic, trust=self.trust
            )
            told["costs"] = _as_written(run, record, file.name)
            write_text(run.path / "budget.json", json.dumps(told, indent=1))
        write_text(run.report, json.dumps(finite(report), indent=1))  # that it is finished comes last


def _as_written(run: RunFolder, record: Record, file: str) -> dict[Kind, float]:
    """The costs, with the megabytes of the file in int8 of that name in the folder.

    Raises:
        BudgetError: If these are more than may be.
    """
    if "mb" not in record.costs:
        return record.costs
    written = json.loads(run.exports.read_text(encoding="utf-8"))[file]
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
