import math

import pytest
import torch
from torch.nn import functional as F
from torchmetrics import MetricCollection

from secateur.measures.metrics import CrossEntropy


def test_equals_torchs_weighted_mean_however_batches_are_cut() -> None:
    weights = [0.0, 0.5, 2.0]
    logits, labels = torch.randn(4, 3, 4, 4), torch.randint(0, 3, (4, 4, 4))
    labels[0] = 255
    metric = CrossEntropy(3, weights)
    for part in (slice(0, 1), slice(1, 4)):
        metric.update(logits[part], labels[part])
    expected = F.cross_entropy(logits, labels, torch.tensor(weights), ignore_index=255)
    assert float(metric.compute()) == pytest.approx(float(expected), rel=1e-5)
    plain = CrossEntropy(3)
    plain.update(logits, labels)
    assert float(plain.compute()) == pytest.approx(
        float(F.cross_entropy(logits, labels, ignore_index=255)), rel=1e-5
    )
    assert plain.higher_is_better is False


def test_nothing_labelled_is_nan() -> None:
    metric = CrossEntropy(3)
    metric.update(torch.randn(1, 3, 2, 2), torch.full((1, 2, 2), 255))
    assert math.isnan(float(metric.compute()))


def test_merges_with_its_equal_only() -> None:
    metrics = MetricCollection({"a": CrossEntropy(2), "b": CrossEntropy(2), "c": CrossEntropy(2, [1.0, 2.0])})
    metrics.update(torch.randn(1, 2, 2, 2), torch.zeros(1, 2, 2, dtype=torch.int64))
    assert sorted(map(sorted, metrics.compute_groups.values())) == [["a", "b"], ["c"]]


def test_an_update_reads_no_value() -> None:
    target = torch.empty(2, 8, 8, dtype=torch.int64, device="meta")
    CrossEntropy(3).to("meta").update(torch.empty(2, 3, 4, 4, device="meta"), target)


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0]])
def test_wrong_weights_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="give 2 numbers, none negative"):
        CrossEntropy(2, weights)
