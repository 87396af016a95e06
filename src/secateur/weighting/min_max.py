"""Min-max weighting (Guo et al., ISCAS 2024; Neurocomputing 650, 2025, 130865): what is optimised is the worst task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from secateur.problem import Problem
from secateur.weighting.weighting import Weighting, weighed


def onto_simplex(point: Tensor) -> Tensor:
    """The nearest point with entries of 0 or more that add up to 1 (Duchi et al. 2008, Fig. 1).

    Args:
        point: (tasks,).
    """
    falling = point.sort(descending=True).values
    excess = falling.cumsum(0) - 1.0
    count = torch.arange(1, len(point) + 1, dtype=point.dtype, device=point.device)
    held = (falling * count > excess).sum()  # entries that stay above 0
    return (point - excess.index_select(0, held.view(1) - 1) / held).clamp(min=0)


def ascended(shares: Tensor, losses: Tensor, gamma: float, beta: float) -> Tensor:
    """One projected ascent step of ``max_v Σ v_t·L_t − γ/2·‖v − 1/T‖²``: v ← Π(v + (L − γ·(v − 1/T)) / β).

    Args:
        shares: v, (tasks,), on the simplex.
        losses: L, (tasks,).
        gamma: γ, how strongly equal shares are held to.
        beta: β, one over the length of the step.
    """
    return onto_simplex(shares + (losses - gamma * (shares - 1.0 / len(shares))) / beta)


class MinMax(Weighting):
    """Weighs by v_t·f_t, scaled to mean 1: v on the simplex ascends where losses are largest, f_t makes them compare.

    The network is trained on ``min_w max_v Σ v_t·f_t·L_t − γ/2·‖v − 1/T‖²``, with f_t one over the mean of the task's first
    losses, in place of factors by hand: the worst task is that whose loss has fallen least. From then on v takes one
    projected ascent step every so many steps, on each task's mean loss since the last one. Of a task without a loss since then the
    one before counts, or, if there was none, the mean of the others. Where first losses are negative, such as −cos, f_t is one over the
    mean of their sizes, and L_t counts from where it is 1 at first, as it is of others: a constant changes no gradient.

    Args:
        gamma: γ: the larger, the more alike the shares; 0 leaves everything to the worst task (published: 5).
        beta: β: the larger, the slower the shares move (published: 50, and 10 for sparse training from the first step).
        every: Steps between two moves; a 200th of the steps if None (published: an epoch of 200).
        warmup: Share of the steps whose losses set f_t, while shares are equal. A running mean to the end would not do: losses
            that have settled are all as large as theirs, and no task is the worst.
        factors: Task to f_t by hand; 1 for tasks left out (published: 1.5 for depth and 3 for normals), and losses as
            they are, negative ones too. None measures them.
    """

    def __init__(
        self,
        gamma: float = 5.0,
        beta: float = 50.0,
        every: int | None = None,
        *,
        warmup: float = 0.1,
        factors: Mapping[str, float] | None = None,
    ) -> None:
        if not 0 <= gamma <= beta or not beta > 0:
            raise ValueError(
                f"MinMax: gamma is {gamma} and beta {beta}; give a beta above 0, and a gamma from 0 to beta, beyond which "
                "shares swing."
            )
        if every is not None and every < 1:
            raise ValueError(f"MinMax: every is {every}; give at least 1 step.")
        if not 0 <= warmup < 1:
            raise ValueError(f"MinMax: warmup is {warmup}; give a share of the steps in [0, 1).")
        if factors is not None and not all(0 < f < float("inf") for f in factors.values()):
            raise ValueError(f"MinMax: factors are {dict(factors)}; give numbers above 0.")
        self.gamma, self.beta, self.every, self.warmup = gamma, beta, every, warmup
        self.factors = None if factors is None else dict(factors)

    def start(self, problem: Problem, steps: int) -> None:
        """Checks the task names, and begins with equal shares."""
        if unknown := sorted(set(self.factors or {}) - set(problem.tasks)):
            raise ValueError(f"MinMax: factors name {unknown}, but the tasks are {sorted(problem.tasks)}.")
        self._rows = {task: row for row, task in enumerate(weighed(problem))}
        self._length = self.every or max(1, steps // 200)
        self._first = max(1, round(self.warmup * steps))  # losses of each task that set its scale
        device = next((p.device for p in problem.model.parameters()), torch.device("cpu"))
        zeros = torch.zeros(len(self._rows), dtype=torch.float64, device=device)
        self._state = {
            "shares": torch.full_like(zeros, 1.0 / len(self._rows)),  # v
            "size": zeros.clone(),  # sum of the first |L_t|
            "first": zeros.clone(),  # and of the first L_t
            "count": zeros.clone(),
            "sum": zeros.clone(),  # of the losses since the last move
            "since": zeros.clone(),  # and how many
            "last": zeros * torch.nan,  # f_t·L_t at the last move
        }
        own = [1.0 / (self.factors or {}).get(task, 1.0) for task in self._rows]
        self._given = None if self.factors is None else zeros.new_tensor(own)
        self._steps = 0

    @torch.no_grad()
    def __call__(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor | float]:
        """Counts the losses, moves the shares where it is time, and returns the weights; nothing is read back to the host."""
        for task, loss in losses.items():
            self._record(self._rows[task], loss.detach().double())
        self._steps += 1
        if self._steps % self._length == 0:
            self._move()
        scale = self._scale()
        known = scale > 0
        weights = torch.where(known, self._state["shares"] / scale, 0.0)
        mean = weights.sum() / known.sum()
        weights = torch.where(known & (mean > 0), weights / mean, 1.0)  # losses that were all 0 have no scale
        return {task: weights[self._rows[task]].to(loss.dtype) for task, loss in losses.items()}

    def state_dict(self) -> dict[str, Any]:
        """The shares, sums and counters."""
        return {**self._state, "steps": self._steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes them up."""
        for name, value in self._state.items():
            value.copy_(state[name])
        self._steps = state["steps"]

    def _record(self, row: int, loss: Tensor) -> None:
        state, there = self._state, loss.isfinite()
        value = torch.where(there, loss, 0.0)
        first = there & (state["count"][row] < self._first)
        state["size"][row] += value.abs() * first
        state["first"][row] += value * first
        state["count"][row] += first
        state["sum"][row] += value
        state["since"][row] += there

    def _scale(self) -> Tensor:
        """1 / f_t; NaN of a task that had no loss yet."""
        return self._state["size"] / self._state["count"] if self._given is None else self._given

    def _move(self) -> None:
        state = self._state
        if self._steps > self._first:
            found = state["sum"] / state["since"] / self._scale()
            if self._given is None:
                found = found + (1.0 - state["first"] / state["size"])  # 0 of losses that are positive
            state["last"].copy_(torch.where(found.isfinite(), found, state["last"]))
            known = state["last"].isfinite()
            mean = torch.where(known, state["last"], 0.0).sum() / known.sum().clamp(min=1)
            found = torch.where(known, state["last"], mean)
            state["shares"].copy_(ascended(state["shares"], found, self.gamma, self.beta))
        state["sum"].zero_()
        state["since"].zero_()
