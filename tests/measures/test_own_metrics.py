"""Metrics that are not ours: each is updated by itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import Metric

from secateur.measures.evaluate import _alike, evaluate
from secateur.measures.metrics import CrossEntropy, DepthError, MeanIoU, PixelAccuracy
from secateur.problem.problem import Problem, Task


class Known(nn.Module):
    """Gives what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"own": x * self.scale}


def measured(pairs: list[tuple[Tensor, Tensor]], **metrics: Metric) -> dict[str, float]:
    data = [(x, {"own": target}) for x, target in pairs]
    return evaluate(Problem(Known(), {"own": Task(F.l1_loss, metrics)}, data, data), "val")["own"]


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
    near, far = torch.tensor([[0.05], [0.15], [0.15], [5.0]]), torch.full((4, 1), 5.0)
    metrics = {"near": Within(0.1), "nearer or not": Within(0.2)}
    assert measured([(x, torch.zeros(4, 1)) for x in (far, near)], **metrics) == {
        "near": 1 / 8,
        "nearer or not": 3 / 8,
    }


class Capped(DepthError):
    """One that extends ours by a setting that ours knows nothing of."""

    def __init__(self, cap: float) -> None:
        super().__init__("abs")
        self.cap = cap

    def update(self, prediction: Tensor, target: Tensor) -> None:
        super().update(prediction, target.masked_fill(target > self.cap, 0.0))


def test_nor_are_those_that_extend_ours_or_have_weights() -> None:
    depth, truth = torch.full((1, 1, 2, 2), 1.0), torch.tensor([[[[2.0, 2.0], [9.0, 9.0]]]])
    assert measured([(depth, truth)], near=Capped(5.0), all=Capped(50.0)) == {"near": 1.0, "all": 4.5}
    logits, labels = torch.tensor([[[[2.0, 2.0]], [[0.0, 0.0]]]]), torch.tensor([[[0, 1]]])
    found = measured([(logits, labels)], plain=CrossEntropy(2), heavy=CrossEntropy(2, [1.0, 9.0]))
    assert found["heavy"] > found["plain"] + 0.5


def test_ours_that_count_the_same_count_it_once() -> None:
    ours = {
        "a": MeanIoU(3),
        "b": PixelAccuracy(3),
        "c": MeanIoU(4),
        "d": DepthError("abs"),
        "e": DepthError("rel"),
    }
    assert _alike(ours) == [["a", "b"], ["c"], ["d", "e"]]
