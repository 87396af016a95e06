from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchmetrics import MetricCollection

from secateur.measures.metrics import MeanIoU, PixelAccuracy


def logits(labels: Tensor, classes: int) -> Tensor:
    """Logits whose argmax is ``labels`` (N, H, W)."""
    return torch.nn.functional.one_hot(labels, classes).permute(0, 3, 1, 2).float()


def naive(prediction: Tensor, target: Tensor, classes: int, empty: str) -> tuple[float, float]:
    pairs = [
        (p, t)
        for p, t in zip(prediction.flatten().tolist(), target.flatten().tolist(), strict=True)
        if t != 255
    ]
    scores = []
    for k in range(classes):
        both = sum(p == k and t == k for p, t in pairs)
        either = sum(p == k or t == k for p, t in pairs)
        if (both if empty == "tp" else either) > 0:
            scores.append(both / either)
    return sum(scores) / max(len(scores), 1), sum(p == t for p, t in pairs) / len(pairs)


PREDICTED = torch.tensor([[[0, 0, 1], [1, 2, 2]]])
TARGET = torch.tensor([[[0, 1, 1], [1, 0, 255]]])


def test_golden_values() -> None:
    # class 0: 1 of {00, 01, 20} = 1/3; class 1: 2 of 3 = 2/3; class 2: 0 of 1; class 3 occurs nowhere
    prediction = logits(PREDICTED, 4)
    iou, tp, accuracy = MeanIoU(4), MeanIoU(4, empty="tp"), PixelAccuracy(4)
    for metric in (iou, tp, accuracy):
        metric.update(prediction, TARGET)
    assert float(iou.compute()) == pytest.approx(1 / 3)
    assert float(tp.compute()) == pytest.approx(1 / 2)
    assert float(accuracy.compute()) == pytest.approx(3 / 5)
    assert iou.confusion.dtype == torch.int64
    assert iou.confusion.tolist() == [[1, 0, 1, 0], [1, 2, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("empty", ["union", "tp"])
def test_matches_a_naive_loop(empty: str) -> None:
    target = torch.randint(0, 6, (3, 7, 5))
    target[target == 5] = 255
    prediction = torch.randn(3, 5, 7, 5)
    iou, accuracy = MeanIoU(5, empty=empty), PixelAccuracy(5)
    iou.update(prediction, target)
    accuracy.update(prediction, target)
    expected = naive(prediction.argmax(1), target, 5, empty)
    assert (float(iou.compute()), float(accuracy.compute())) == pytest.approx(expected, rel=1e-12)


def test_all_wrong_is_zero_in_both_modes() -> None:
    for empty in ("union", "tp"):
        metric = MeanIoU(2, empty=empty)
        metric.update(
            logits(torch.zeros(1, 2, 2, dtype=torch.int64), 2), torch.ones(1, 2, 2, dtype=torch.int64)
        )
        assert float(metric.compute()) == 0


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(1, 7), max_size=4), seed=st.integers(0, 1000))
def test_batches_may_be_cut_anyhow(cuts: list[int], seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    target = torch.randint(0, 4, (8, 4, 4), generator=g)
    target[target == 3] = 255
    prediction = torch.randn(8, 3, 2, 2, generator=g)
    whole, parts = MeanIoU(3), MeanIoU(3)
    whole.update(prediction, target)
    edges = [0, *sorted(set(cuts)), 8]
    for a, b in pairwise(edges):
        parts.update(prediction[a:b], target[a:b])
    assert torch.equal(whole.confusion, parts.confusion)
    assert torch.equal(whole.compute(), parts.compute()) or bool(whole.compute().isnan())


def test_everything_ignored_is_nan() -> None:
    for metric in (MeanIoU(3), MeanIoU(3, empty="tp"), PixelAccuracy(3)):
        metric.update(torch.randn(2, 3, 4, 4), torch.full((2, 4, 4), 255))
        assert bool(metric.compute().isnan())


def test_resize_is_what_torch_does() -> None:
    prediction, target = torch.randn(2, 3, 3, 5), torch.randint(0, 3, (2, 17, 31))
    for mode in ("bilinear", "nearest"):
        large = torch.nn.functional.interpolate(prediction, (17, 31), mode=mode)
        metric = PixelAccuracy(3, resize=mode)
        metric.update(prediction, target)
        assert float(metric.compute()) == pytest.approx(float((large.argmax(1) == target).double().mean()))


def test_one_compute_group_and_settings_that_differ_stay_apart() -> None:
    prediction, target = logits(PREDICTED, 4), TARGET
    one = MetricCollection({"a": MeanIoU(4), "b": PixelAccuracy(4), "c": MeanIoU(4, empty="tp")})
    one.update(prediction, target)
    assert list(one.compute_groups.values()) == [["a", "b", "c"]]
    # equal after the first batch, because the sizes agree there; not so after the second
    two = MetricCollection(
        {"a": PixelAccuracy(3), "b": PixelAccuracy(3, resize="nearest"), "c": PixelAccuracy(3, 9)}
    )
    singles = {"a": PixelAccuracy(3), "b": PixelAccuracy(3, resize="nearest"), "c": PixelAccuracy(3, 9)}
    batches = [
        (torch.randn(1, 3, 4, 4), torch.randint(0, 3, (1, 4, 4))),
        (torch.randn(1, 3, 4, 4), torch.randint(0, 3, (1, 16, 16))),
    ]
    for batch in batches:
        two.update(*batch)
        for metric in singles.values():
            metric.update(*batch)
    assert len(two.compute_groups) == 3
    assert {k: float(v) for k, v in two.compute().items()} == {
        k: float(m.compute()) for k, m in singles.items()
    }


@pytest.mark.parametrize("label", [-1, 3, 77])
def test_a_label_out_of_range_is_named(label: int) -> None:
    target = torch.zeros(1, 2, 2, dtype=torch.int64)
    target[0, 1, 0] = label
    metric = MeanIoU(3)
    with pytest.raises(ValueError, match=rf"label {label}\b.*3 classes"):
        metric.update(torch.randn(1, 3, 2, 2), target)
    with pytest.raises(ValueError, match=rf"label {label}\b"):  # where an accelerator reports it
        metric.compute()


def test_other_ignore_index() -> None:
    metric = PixelAccuracy(3, ignore_index=-1)
    metric.update(logits(torch.tensor([[[0, 1]]]), 3), torch.tensor([[[0, -1]]]))
    assert float(metric.compute()) == 1


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="classes is 1"):
        MeanIoU(1)
    with pytest.raises(ValueError, match="empty is 'all'"):
        MeanIoU(3, empty="all")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="resize is 'cubic'"):
        MeanIoU(3, resize="cubic")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"must be \(N=1, 3, h, w\)"):
        MeanIoU(3).update(torch.randn(1, 4, 2, 2), torch.zeros(1, 2, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"\(N, H, W\) labels"):
        MeanIoU(3).update(torch.randn(1, 3, 2, 2), torch.zeros(1, 1, 2, 2, dtype=torch.int64))


def test_reset_and_flags() -> None:
    metric = MeanIoU(3)
    assert (metric.higher_is_better, metric.full_state_update, metric.is_differentiable) == (
        True,
        False,
        False,
    )
    metric.update(torch.randn(1, 3, 2, 2), torch.zeros(1, 2, 2, dtype=torch.int64))
    metric.reset()
    assert int(metric.confusion.sum()) == 0
    assert metric.settings.tolist() == [3, 255, 0]
