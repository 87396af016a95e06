"""Weighting by the tasks' learned uncertainty (Kendall et al. 2018, Eq. 10; Less is More 2023, Eq. 2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from secateur.problem import Problem
from secateur.weighting.weighting import Weighting, weighed

Form = Literal["published", "kendall"]


class UncertaintyWeighting(Weighting):
    """L = Σ_t e^(−s_t)·L_t + s_t, with s_t = log σ_t² trained beside the network by the same optimizer.

    The s_t are a group of their own without weight decay. At the optimum e^(−s_t) = 1/L_t: every task's weighted loss is
    1, so the weighting also evens out the scales of the losses. A batch that lacks a task, or in which its loss is 0, leaves its s_t
    without gradient. For s_t the size of a loss counts: at zero and below, as −cos, e^(−s_t)·L_t + s_t would have no optimum, and the
    weight grow without end.

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
        self._tasks = {task: row for row, task in enumerate(weighed(problem))}
        self._factor = 0.5 if self.form == "kendall" else 1.0
        device = next((p.device for p in problem.model.parameters()), torch.device("cpu"))
        self._s = nn.Parameter(torch.full((len(self._tasks),), float(self.init), device=device))  # (tasks,)
        self._present: list[int] = []
        self._below = self._there = self._s.detach()[:0]  # (tasks of the batch,)
        self._fixed = [problem.tasks[task].weight for task in self._tasks]

    def param_groups(self) -> list[dict[str, Any]]:
        """s, never decayed."""
        return [{"params": [self._s], "weight_decay": 0.0}]

    def __call__(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor | float]:
        """e^(−s_t) of the tasks of this batch; gradients flow through it to s_t."""
        self._present = [self._tasks[task] for task in losses]
        sizes = [self._fixed[self._tasks[t]] * (-loss.detach()).clamp(min=0) for t, loss in losses.items()]
        self._below = torch.stack(sizes).to(self._s) if sizes else self._s.detach()[:0]
        there = [loss.detach() != 0 for loss in losses.values()]
        self._there = torch.stack(there).to(self._s) if there else self._s.detach()[:0]
        weights = self._factor * (-self._s).exp()
        return {task: weights[self._tasks[task]] for task in losses}

    def penalty(self) -> Tensor | float:
        """Σ s_t over the tasks of the batch last weighed whose loss is not 0, and what makes |L_t| of a negative L_t in what s_t learns from."""
        s = self._s[self._present]
        return self._factor * ((s * self._there).sum() + 2.0 * ((-s).exp() * self._below).sum())

    def state_dict(self) -> dict[str, Any]:
        """s."""
        return {"s": self._s.detach()}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up s."""
        self._s.copy_(state["s"])
