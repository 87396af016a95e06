"""What can be refused before anything is measured or trained."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, cast, get_args

import torch
from torch import nn

from secateur.budget.limits import Budget
from secateur.budget.worth import Score
from secateur.deployment.bench import crowded, require_engine
from secateur.deployment.export import Quantize, int8_suffix, require
from secateur.problem import Problem, check_count, check_takes, example, one
from secateur.pruning import check_done
from secateur.shrinking import check_values
from secateur.training import check_allowed, shares_lost

_COUNTS = {"steps": 0, "rounds": 1, "batches": 1, "repair": 0}  # and the least of each


def check(problem: Problem, budgets: Sequence[Budget], options: Mapping[str, Any]) -> None:
    """Raises ValueError for what is unusable whatever the network costs, EngineMissingError for an engine that is not installed.

    Args:
        problem: To prune.
        budgets: Of the run.
        options: As of :class:`secateur.budget.prune.Options`.
    """
    if not isinstance(cast(Any, problem), Problem):
        raise ValueError(
            f"prune: problem is {type(problem).__name__}; give a Problem(model, tasks, train, val), whose model is trained."
        )
    _check_whole(problem.model)
    check_values("prune", problem.model)
    _check_weights(problem.model)
    check_done(problem.model, "prune")
    given: Any = budgets
    if not isinstance(given, Sequence) or not all(isinstance(one, Budget) for one in given):  # pyright: ignore[reportUnknownVariableType]
        raise ValueError(
            f"prune: {budgets!r} is given as budgets; give secateur.Budget(macs=0.5) or the like."
        )
    if not budgets:
        raise ValueError("prune: budgets is empty; give at least one.")
    for name, least in _COUNTS.items():
        given = options.get(name, least)
        if isinstance(given, bool) or not isinstance(given, int) or given < least:
            raise ValueError(f"prune: {name} is {given!r}; give a whole number of at least {least}.")
    if options.get("score", "taylor") not in get_args(Score):
        raise ValueError(
            f"prune: there is no score {options['score']!r}; give one of {', '.join(get_args(Score))}."
        )
    check_count("prune: seed", options.get("seed", 0), None)
    for first, second in pairwise(budgets):
        if first.kinds != second.kinds or (first.engine, first.threads) != (second.engine, second.threads):
            raise ValueError(f"prune: budgets limit {first} and {second}; limit the same in one run.")
    _ = problem.owners  # looks at a batch, and at what the model returns and lists
    if options.get("floors") is not None:
        check_allowed(problem, options["floors"])
    _check_files(budgets[0], options.get("quantize"))
    if options.get("on") is not None:
        check_takes("prune", problem.network, options["on"], "on", like=one(example(problem)))


def check_names(given: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raises TypeError, naming the nearest, for an option that there is not."""
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1) or [*known]
            raise TypeError(f"prune: there is no option {name!r}; there is {', '.join(near)}.")


def check_reference(
    problem: Problem, reference: Mapping[str, Mapping[str, float]] | None, floors: Mapping[str, float]
) -> None:
    """Raises ValueError if a task with a floor has a metric of which no share can be taken: a floor is held or refused."""
    lost = shares_lost(reference, reference, problem) if reference else {}
    for task in floors:
        if lost.get(task) != 0.0:
            found = {} if reference is None else dict(reference.get(task, {}))
            raise ValueError(
                f"prune: floors names {task!r}, and the trained network has {found or 'no value'} on the validation split, of which no "
                "share can be lost; look at its labels and metrics, or leave its floor out."
            )


def _check_whole(model: nn.Module) -> None:
    """A compiled network computes what it was compiled to, whatever its weights are cut to."""
    for name, module in model.named_modules():
        if "_orig_mod" in dict(module.named_children()):
            what = f"model.{name}" if name else "model"
            raise ValueError(
                f"prune: {what} is compiled, which hides what it computes; give the network as it was before torch.compile "
                f"({what}._orig_mod), and compile what comes back."
            )


def _check_weights(model: nn.Module) -> None:
    """Whether there is something to score and to train."""
    if torch.is_inference_mode_enabled() or any(p.is_inference() for p in model.parameters()):
        raise ValueError(
            "prune: the network was made, or is pruned, under torch.inference_mode, where nothing can be scored or trained; make it and "
            "call prune outside."
        )
    bad = [n for n, p in model.named_parameters() if p.is_floating_point() and not bool(p.isfinite().all())]
    bad += [n for n, b in model.named_buffers() if b.is_floating_point() and bool(b.isnan().any())]
    if bad:
        raise ValueError(
            f"prune: {', '.join(bad[:3])}{' and more' if len(bad) > 3 else ''} of the model are NaN or infinite; give weights that are not, "
            "such as those of an earlier checkpoint."
        )


def _check_files(budget: Budget, quantize: Quantize | None) -> None:
    """Whether what is measured can be written and run here."""
    if quantize not in (None, *get_args(Quantize)):
        raise ValueError(f"prune: quantize is {quantize!r}; it is 'int8', or None.")
    if "ms" in budget.kinds and (why := crowded(budget.threads)):
        raise ValueError(f"prune: {why} and no time holds; give that many at most.")
    if {"ms", "mb"} & set(budget.kinds):
        require_engine(budget.engine, quantize)
    if quantize is not None:
        require("onnx" if int8_suffix(budget.engine) == ".onnx" else "openvino")
