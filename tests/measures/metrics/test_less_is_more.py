"""The measures of Less is More, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from secateur.data.rooms import rooms
from secateur.measures.metrics.less_is_more import CosineSimilarity, ImageIoU


def logits(labels: Tensor) -> Tensor:
    return torch.nn.functional.one_hot(labels, 3).movedim(-1, 1).float()


def test_iou_is_of_each_image_then_averaged() -> None:
    target = torch.tensor([[[0, 1], [2, 255]], [[1, 1], [1, 1]], [[255, 255], [255, 255]]])
    found = torch.tensor([[[0, 1], [1, 1]], [[1, 1], [0, 0]], [[0, 0], [0, 0]]])
    metric = ImageIoU()
    metric.update(logits(found), target)
    # first image: 2 hits of 3 labelled; second: 2 of 4; the third has no label
    assert float(metric.compute()) == pytest.approx((2 / 4 + 2 / 6) / 2)
    split = ImageIoU()
    for image in range(3):
        split.update(logits(found)[image : image + 1], target[image : image + 1])
    assert float(split.compute()) == float(metric.compute())


def test_cosine_over_valid_pixels() -> None:
    target = torch.zeros(1, 3, 1, 3)
    target[0, 2, 0, :2] = 1.0  # the third pixel is invalid
    found = torch.zeros(1, 3, 1, 3)
    found[0, :, 0, 0] = torch.tensor([0.0, 0.0, 5.0])
    found[0, :, 0, 1] = torch.tensor([0.0, 3.0, 3.0])
    found[0, :, 0, 2] = torch.tensor([1.0, 0.0, 0.0])
    metric = CosineSimilarity()
    metric.update(found, target)
    assert float(metric.compute()) == pytest.approx((1 + math.sqrt(0.5)) / 2)


@pytest.mark.parametrize(
    ("metric", "channels", "target"),
    [(ImageIoU(), 5, torch.empty(2, 8, 8, dtype=torch.int64, device="meta")), (CosineSimilarity(), 3, torch.empty(2, 3, 8, 8, device="meta"))],
    ids=["iou", "cosine"],
)  # fmt: skip
def test_an_update_reads_no_value(metric: ImageIoU, channels: int, target: Tensor) -> None:
    metric.to("meta").update(torch.empty(2, channels, 4, 4, device="meta"), target)


def test_nothing_labelled_is_nan() -> None:
    metric = ImageIoU()
    metric.update(logits(torch.zeros(1, 2, 2, dtype=torch.int64)), torch.full((1, 2, 2), 255))
    assert math.isnan(float(metric.compute()))


def test_a_data_set_can_measure_as_the_paper_does() -> None:
    data = rooms(train_count=2, val_count=1, test_count=1, size=(16, 16), batch=1, measures="less_is_more")
    assert {task: list(found.metrics) for task, found in data.tasks.items()} == {
        "seg": ["iou"],
        "normal": ["cosine"],
        "depth": ["mae"],
    }
    assert [m.higher_is_better for found in data.tasks.values() for m in found.metrics.values()] == [
        True,
        True,
        False,
    ]
