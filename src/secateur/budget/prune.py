"""From a trained network and a budget to the network that keeps it, measured."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypedDict, Unpack

from torch import nn

from secateur.budget.checks import check, check_names
from secateur.budget.limits import Budget
from secateur.budget.measured import File
from secateur.budget.record import BudgetError
from secateur.budget.rounds import Rounds
from secateur.budget.worth import Score
from secateur.deployment.export import Quantize
from secateur.problem import Input, Problem
from secateur.shrinking import compaction, plain
from secateur.training import MakeOptimizer
from secateur.weighting import Weighting


class Options(TypedDict, total=False):
    """How :func:`prune` works.

    Args:
        floors: Task to the share of its metrics that it may lose on the validation split: 0.02 is 2 %. A round that breaks one,
            the last too, is trained on for as many steps as the last has; one that breaks it still is taken back and chosen anew with that
            task's worth doubled.
        steps: Optimizer steps of each network, 2000 by default, and more where rounds break floors; 0 prunes without training and repairs
            on a few batches, whose labels are used for scores only.
        rounds: Over which the channels go, 4 by default.
        score: ``"taylor"`` (default), ``"magnitude"`` or ``"random"``; see ``worth.task_worth``.
        batches: Training batches that a score looks at, 16 by default.
        repair: Training batches that :func:`secateur.budget.repair.repair` looks at with ``steps=0``, 8 by default; 0 leaves it out.
        weighting: Of the tasks' losses; equal weights by default.
        optimizer: As of :func:`secateur.fit`, Adam at 1e-3 by default; ``secateur prune`` takes 3e-4 (``--lr``).
        seed: Of training, 0 by default.
        quantize: ``"int8"``: the file is to be in int8, and time, megabytes and floors are those of that file; a head that breaks
            its floor there stays in float. Shares are still of the dense network in float. None by default.
        on: What costs are measured on, (N, C, ...); a single sample of the first training batch by default.
        progress: Say on standard error how far training is; by default it is said.
    """

    floors: Mapping[str, float] | None
    steps: int
    rounds: int
    score: Score
    batches: int
    repair: int
    weighting: Weighting | None
    optimizer: MakeOptimizer | None
    seed: int
    quantize: Quantize | None
    on: Input | None
    progress: bool


def prune(problem: Problem, budget: Budget, **options: Unpack[Options]) -> nn.Module:
    """A smaller copy of the trained ``problem.model`` that keeps ``budget``, as measured, in its modes; the model itself stays as it was.

    What computes weights, such as a weight norm, a spectral norm or a mask of ``torch.nn.utils.prune``, is taken off the copy.

    In rounds: every group of channels that lives and dies together is scored on each task's loss; those go that are worth least for
    what they save, under costs predicted by a table of what each layer takes; what is left is trained on. In the last round
    the network is measured before it is trained, and chosen anew until every cost is met: time within 5 %, the rest exactly.

    Args:
        problem: A trained model, its tasks and data; with ``val`` where there are floors.
        budget: What it may cost.
        options: See :class:`Options`.

    Returns:
        A plain module of the same class with fewer channels; :func:`record_of` says what was asked, predicted and measured.

    Raises:
        BudgetError: If no network of this shape can meet the budget, or none was found that breaks no floor.
        ValueError: If an argument is unusable, or the model cannot be traced or exported.
        EngineMissingError: If the budget's engine is not installed.
    """
    (small,) = prune_family(problem, [budget], **options)
    return small


def prune_family(problem: Problem, budgets: Sequence[Budget], **options: Unpack[Options]) -> list[nn.Module]:
    """A network for each of ``budgets``, in one run: each goes on from the one before, so give the largest first (ZipLM, arXiv 2302.04089).

    Args:
        problem: As of :func:`prune`.
        budgets: From the loosest to the tightest.
        options: See :class:`Options`.

    Raises:
        BudgetError: As :func:`prune`; its ``networks`` are those that were finished before.
        ValueError: As :func:`prune`; also where a budget is looser than the one before it.
    """
    found: list[nn.Module] = []
    try:
        for small in networks(problem, budgets, **options):
            found.append(small)
    except BudgetError as error:
        error.networks = found
        raise
    return found


def networks(
    problem: Problem, budgets: Sequence[Budget], file: File | None = None, **options: Unpack[Options]
) -> Iterator[nn.Module]:
    """As :func:`prune_family`, each as soon as it is finished; ``file`` says how that is written whose megabytes count."""
    check_names(options, list(Options.__annotations__))
    check(problem, budgets, options)
    model, baked = plain(problem.model)
    run = Rounds(replace(problem, model=model) if baked else problem, budgets[0], **options, file=file)
    for budget in budgets:
        if all(run.dense[kind] <= limit for kind, limit in budget.absolute(run.dense).items()):
            costs = ", ".join(f"{cost:.4g} {kind}" for kind, cost in run.dense.items())
            warnings.warn(
                f"prune: the network keeps {budget} as it is ({costs}), so nothing is taken out; what comes back is trained on alone.",
                stacklevel=3,
            )
    run.check(budgets)
    for budget in budgets:
        small = run.to(budget)
        if (made := compaction(small)) is not None:
            made.baked = sorted({*made.baked, *baked})
        modes = {name: module.training for name, module in problem.model.named_modules()}
        for name, module in small.named_modules():
            module.training = modes.get(name, small.training)
        yield small
