import math

import pytest
import torch

from secateur.measures.metrics import Accuracy


def test_one_logit_says_yes_above_zero() -> None:
    metric = Accuracy()
    metric.update(torch.tensor([[0.4], [-0.1], [3.0], [9.0]]), torch.tensor([1, 0, 0, -1]))
    assert float(metric.compute()) == pytest.approx(2 / 3)
    assert metric.higher_is_better is True


def test_several_vote_and_batches_add_up() -> None:
    metric = Accuracy()
    metric.update(torch.eye(3), torch.tensor([0, 1, 0]))
    metric.update(torch.eye(3)[:1], torch.tensor([-1]))
    assert float(metric.compute()) == pytest.approx(2 / 3)


def test_nothing_labelled_is_nan() -> None:
    metric = Accuracy()
    metric.update(torch.randn(2, 3), torch.tensor([-1, -1]))
    assert math.isnan(float(metric.compute()))


def test_an_update_reads_no_value() -> None:
    Accuracy().to("meta").update(
        torch.empty(2, 3, device="meta"), torch.empty(2, dtype=torch.int64, device="meta")
    )


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(ValueError, match=r"must be \(N=2, K\) logits"):
        Accuracy().update(torch.randn(2, 3, 1), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"must be \(N,\) labels"):
        Accuracy().update(torch.randn(2, 3), torch.tensor([[0, 1]]))
