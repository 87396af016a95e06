import math

import pytest
import torch
from torchmetrics import MetricCollection

from secateur.measures.metrics import MapError


def test_golden_value_leaves_minus_one_out() -> None:
    metric = MapError()
    metric.update(torch.tensor([[[[0.5, 0.0, 7.0]]]]), torch.tensor([[[[0.0, 1.0, -1.0]]]]))
    assert float(metric.compute()) == pytest.approx(0.75)
    assert metric.higher_is_better is False


def test_batches_add_up_by_pixel_not_by_batch() -> None:
    metric = MapError()
    metric.update(torch.zeros(1, 1, 1, 3), torch.tensor([[[[1.0, 1.0, 1.0]]]]))
    metric.update(torch.zeros(1, 1, 1, 3), torch.tensor([[[[0.0, -1.0, -1.0]]]]))
    assert float(metric.compute()) == pytest.approx(3 / 4)


def test_matches_a_naive_loop_at_a_coarser_prediction() -> None:
    prediction, target = torch.rand(2, 1, 2, 3), torch.rand(2, 1, 4, 6)
    target[target < 0.2] = -1
    metric = MapError(resize="nearest")
    metric.update(prediction, target)
    errors = [
        abs(float(prediction[n, 0, y // 2, x // 2]) - float(target[n, 0, y, x]))
        for n in range(2)
        for y in range(4)
        for x in range(6)
        if target[n, 0, y, x] != -1
    ]
    assert float(metric.compute()) == pytest.approx(sum(errors) / len(errors), rel=1e-9)


def test_all_invalid_is_nan() -> None:
    metric = MapError()
    metric.update(torch.rand(1, 1, 2, 2), torch.full((1, 1, 2, 2), -1.0))
    assert math.isnan(float(metric.compute()))


def test_merges_with_its_equal_only() -> None:
    metrics = MetricCollection({"a": MapError(), "b": MapError(), "c": MapError(resize="nearest")})
    metrics.update(torch.rand(1, 1, 2, 2), torch.rand(1, 1, 2, 2))
    assert sorted(map(sorted, metrics.compute_groups.values())) == [["a", "b"], ["c"]]
