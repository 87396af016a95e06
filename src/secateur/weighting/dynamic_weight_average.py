"""Dynamic weight average (Liu et al. 2019, arXiv 1803.10704): a task whose loss falls slowly weighs more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from secateur.problem import Problem
from secateur.weighting.weighting import Weighting, weighed

_MOST = 10.0  # r_t


class DynamicWeightAverage(Weighting):
    """w_t = T·softmax(r_t / temperature), with r_t the ratio of the task's mean losses of the last two windows (Eq. 7).

    Windows stand for the paper's epochs. Until every task has losses in two windows all weigh 1. Of losses that are negative in both,
    such as −cos, r_t is the mean before over the last, so that it is below 1 where the loss falls, as it is of others; where the sign
    changed, or the mean before was 0, no ratio has a meaning, and r_t is 1. More than 10 counts as 10, so that a loss which was next to
    nothing does not take all the weight. Losses that are NaN or infinite are left out.

    Args:
        window: Steps in a window; a fortieth of the steps if None.
        temperature: The larger, the more alike the weights (published: 2).
    """

    def __init__(self, window: int | None = None, temperature: float = 2.0) -> None:
        if window is not None and window < 1:
            raise ValueError(f"window is {window}; give at least 1 step.")
        if not temperature > 0:
            raise ValueError(f"temperature is {temperature}; it must be above 0.")
        self.window = window
        self.temperature = temperature

    def start(self, problem: Problem, steps: int) -> None:
        """Begins with weights of 1."""
        self._rows = {task: row for row, task in enumerate(weighed(problem))}
        self._length = self.window or max(1, steps // 40)
        device = next((p.device for p in problem.model.parameters()), torch.device("cpu"))
        zeros = torch.zeros(len(self._rows), dtype=torch.float64, device=device)
        self._state = {
            "sum": zeros.clone(),
            "count": zeros.clone(),
            "last": zeros * torch.nan,  # mean loss of the last whole window
            "before": zeros * torch.nan,  # and of the one before
        }
        self._steps = 0

    @torch.no_grad()
    def __call__(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor | float]:
        """Weights from the windows before this step; then the step is counted."""
        if self._steps and self._steps % self._length == 0:
            self._turn()
        weights = self._weights()
        for task, loss in losses.items():
            value = loss.detach()
            there = value.isfinite()
            self._state["sum"][self._rows[task]] += torch.where(there, value, 0.0)
            self._state["count"][self._rows[task]] += there
        self._steps += 1
        return {task: weights[self._rows[task]].to(loss.dtype) for task, loss in losses.items()}

    def state_dict(self) -> dict[str, Any]:
        """Sums and means of the windows."""
        return {**self._state, "steps": self._steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes them up."""
        for name, value in self._state.items():
            value.copy_(state[name])
        self._steps = state["steps"]

    def _turn(self) -> None:
        """A window ends; a task without a loss in it keeps its means."""
        state = self._state
        mean = state["sum"] / state["count"]
        seen = state["count"] > 0
        state["before"].copy_(torch.where(seen, state["last"], state["before"]))
        state["last"].copy_(torch.where(seen, mean, state["last"]))
        state["sum"].zero_()
        state["count"].zero_()

    def _weights(self) -> Tensor:
        last, before = self._state["last"], self._state["before"]
        ratio = torch.where((last < 0) & (before < 0), before / last, last / before)
        ratio = torch.where(((last < 0) != (before < 0)) | (before == 0), 1.0, ratio).clamp(max=_MOST)
        weights = len(self._rows) * torch.softmax(ratio / self.temperature, 0)
        return torch.where(weights.isfinite().all(), weights, 1.0)
