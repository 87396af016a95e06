"""Weighting by the tasks' learned uncertainty (Kendall et al. 2018, Eq. 10; Less is More 2023, Eq. 2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from secateur.problem import Problem
from secateur.weighting.weighting import Weighting

Form = Literal["published", "kendall"]


class UncertaintyWeighting(Weighting):
    """L = Σ_t e^(−s_t)·L_t + s_t, with s_t = log σ_t² trained beside the network by the same optimizer.

    The s_t are a group of their own without weight decay. At the optimum e^(−s_t) = 1/L_t: every task's weighted loss is
    1, so the weighting also evens out the scales of the losses. A batch that lacks a task leaves its s_t without gradient.

    Args:
        init: s_t at the start: 0 weighs every loss 1 (published code: 1; LibMTL: -0.5).
        form: ``"published"`` as above; ``"kendall"``: ½·e^(−s_t)·L_t + ½·s_t.

    Raises:
        ValueError: If ``form`` is unknown.
    """

    def __init__(self, init: float = 0.0, form: Form = "published") -> None:
        self.init = init
        self.form: Form = form

    def start(self, problem: Problem, steps: int) -> None:
        """Makes the s_t, on the model's device."""
        self._tasks = {task: row for row, task in enumerate(problem.tasks)}
        self._factor = 0.5 if self.form == "kendall" else 1.0
        device = next((p.device for p in problem.model.parameters()), torch.device("cpu"))
        self._s = nn.Parameter(torch.full((len(self._tasks),), float(self.init), device=device))  # (tasks,)
        self._present: list[int] = []

    def param_groups(self) -> list[dict[str, Any]]:
        """s, never decayed."""
        return [{"params": [self._s], "weight_decay": 0.0}]

    def __call__(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor | float]:
        """e^(−s_t) of the tasks of this batch; gradients flow through it to s_t."""
        self._present = [self._tasks[task] for task in losses]
        weights = self._factor * (-self._s).exp()
        return {task: weights[self._tasks[task]] for task in losses}

    def penalty(self) -> Tensor | float:
        """Σ s_t over the tasks of the batch last weighed."""
        return self._factor * self._s[self._present].sum()

    def state_dict(self) -> dict[str, Any]:
        """s."""
        return {"s": self._s.detach()}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up s."""
        self._s.copy_(state["s"])
