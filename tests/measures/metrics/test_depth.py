import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchmetrics import MetricCollection

from secateur.measures.metrics import DepthError


def every() -> dict[str, DepthError]:
    deltas = {f"d{k}": DepthError("delta", k) for k in (1, 2, 3)}
    return {"abs": DepthError("abs"), "rel": DepthError("rel"), **deltas}


def measured(prediction: Tensor, target: Tensor) -> dict[str, float]:
    metrics = every()
    for metric in metrics.values():
        metric.update(prediction, target)
    return {name: float(metric.compute()) for name, metric in metrics.items()}


def row(*values: float) -> Tensor:
    return torch.tensor(values)[None, None, None, :]


def test_golden_values() -> None:
    found = measured(
        row(2.0, 3.0, 1.0, 9.0), row(2.0, 2.0, 2.0, 0.0)
    )  # ratios 1, 1.5, 2; the last is invalid
    assert found["abs"] == pytest.approx(2 / 3)
    assert found["rel"] == pytest.approx(1 / 3)
    assert (found["d1"], found["d2"], found["d3"]) == pytest.approx(
        (1 / 3, 2 / 3, 2 / 3)
    )  # below 1.25, 1.5625, 1.953


def test_the_bound_itself_is_not_within() -> None:
    found = measured(row(1.25, 1.5625), row(1.0, 1.0))
    assert (found["d1"], found["d2"], found["d3"]) == (0, 0.5, 1)


def test_a_depth_that_is_not_positive_is_never_within_but_its_error_counts_in_full() -> None:
    found = measured(row(-1.0, 0.0), row(1.0, 1.0))
    assert (found["d1"], found["d3"]) == (0, 0)
    assert found["abs"] == pytest.approx(1.5)


def test_matches_a_naive_loop() -> None:
    target = torch.rand(2, 1, 6, 5) * 5
    target[target < 1] = 0
    prediction = torch.randn(2, 1, 6, 5) + 2
    pairs = [
        (p, t) for p, t in zip(prediction.flatten().tolist(), target.flatten().tolist(), strict=True) if t > 0
    ]
    ratios = [max(max(p, 1e-6) / t, t / max(p, 1e-6)) for p, t in pairs]
    found = measured(prediction, target)
    assert found["abs"] == pytest.approx(sum(abs(p - t) for p, t in pairs) / len(pairs), rel=1e-12)
    assert found["rel"] == pytest.approx(sum(abs(p - t) / t for p, t in pairs) / len(pairs), rel=1e-12)
    for k in (1, 2, 3):
        assert found[f"d{k}"] == pytest.approx(sum(r < 1.25**k for r in ratios) / len(ratios), rel=1e-12)


@settings(max_examples=20, deadline=None)
@given(cut=st.integers(1, 5), seed=st.integers(0, 1000))
def test_batches_may_be_cut_anyhow(cut: int, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    target = (torch.rand(6, 1, 4, 4, generator=g) * 5 - 1).clamp(min=0)
    prediction = torch.rand(6, 1, 2, 2, generator=g) * 5
    for whole, parts in zip(every().values(), every().values(), strict=True):
        whole.update(prediction, target)
        parts.update(prediction[:cut], target[:cut])
        parts.update(prediction[cut:], target[cut:])
        assert float(whole.compute()) == pytest.approx(float(parts.compute()), rel=1e-12)


def test_all_invalid_is_nan() -> None:
    assert all(math.isnan(v) for v in measured(row(1.0, 2.0), row(0.0, 0.0)).values())


def test_what_is_not_finite_is_not_hidden_but_at_invalid_pixels_does_not_count() -> None:
    assert all(math.isnan(v) for v in measured(row(1.0, math.nan), row(1.0, 1.0)).values())
    assert measured(row(1.0, math.nan), row(1.0, 0.0))["abs"] == 0


def test_one_compute_group() -> None:
    one = MetricCollection(every())
    one.update(torch.rand(2, 1, 2, 2), torch.rand(2, 1, 8, 8))
    assert len(one.compute_groups) == 1
    assert len(one.compute_groups[0]) == 5


def test_half_precision_predictions() -> None:
    assert measured(row(1.5).bfloat16(), row(1.0))["abs"] == pytest.approx(0.5)


def test_directions() -> None:
    assert {name: m.higher_is_better for name, m in every().items()} == {
        "abs": False, "rel": False, "d1": True, "d2": True, "d3": True,
    }  # fmt: skip


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="statistic is 'rmse'"):
        DepthError("rmse")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="power is None"):
        DepthError("delta")
    with pytest.raises(ValueError, match="power is 4"):
        DepthError("delta", 4)
    with pytest.raises(ValueError, match="power is 1"):
        DepthError("abs", 1)
    with pytest.raises(ValueError, match="metres"):
        DepthError("abs").update(torch.rand(1, 1, 2, 2), torch.rand(1, 2, 2))
