"""Metrics that are not ours: each is updated by itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import Metric

from secateur.measures.evaluate import evaluate
from secateur.problem.problem import Problem, Task


class Within(Metric):
    """A user's own: one class whose instances have the same states, of other meaning."""

    higher_is_better = True

    def __init__(self, reach: float) -> None:
        super().__init__()
        self.reach = reach
        self.add_state("hits", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        self.hits += ((prediction - target).abs() < self.reach).sum()
        self.total += target.numel()

    def compute(self) -> Tensor:
        return self.hits / self.total


def test_metrics_of_ones_own_that_agree_on_the_first_batch_are_not_taken_for_one() -> None:
    errors = [torch.full((4, 1), 5.0), torch.tensor([[0.05], [0.15], [0.15], [5.0]])]
    data = [(error, {"far": torch.zeros(4, 1)}) for error in errors]

    class Far(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"far": x * self.scale}

    metrics = {"near": Within(0.1), "nearer or not": Within(0.2)}
    problem = Problem(Far(), {"far": Task(F.l1_loss, metrics)}, data, data)
    assert evaluate(problem, "val")["far"] == {"near": 1 / 8, "nearer or not": 3 / 8}
