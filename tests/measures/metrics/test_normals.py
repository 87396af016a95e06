import math
from copy import deepcopy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchmetrics import MetricCollection

from secateur.measures.metrics import NormalAngle


def tilted(degrees: list[float]) -> Tensor:
    """(1, 3, 1, P): normals so many degrees from the z axis."""
    radians = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([radians.sin(), torch.zeros_like(radians), radians.cos()])[None, :, None, :]


def every() -> dict[str, NormalAngle]:
    within = {f"w{d}": NormalAngle("within", d) for d in (11.25, 22.5, 30)}
    return {"mean": NormalAngle("mean"), "median": NormalAngle("median"), **within}


def measured(prediction: Tensor, target: Tensor) -> dict[str, float]:
    metrics = every()
    for metric in metrics.values():
        metric.update(prediction, target)
    return {name: float(metric.compute()) for name, metric in metrics.items()}


def random_normals(shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
    n = torch.nn.functional.normalize(torch.randn(shape, generator=generator), dim=1)
    valid = torch.rand((shape[0], 1, *shape[2:]), generator=generator) > 0.3
    return n * valid


def test_golden_values() -> None:
    prediction = 3 * tilted([5, 15, 25, 40, 100])  # of any length
    target = tilted([0.0] * 5)
    target[..., 4] = 0  # invalid
    found = measured(prediction, target)
    assert found["mean"] == pytest.approx((5 + 15 + 25 + 40) / 4, rel=1e-9)
    assert found["median"] == pytest.approx(20, abs=0.01)
    assert (found["w11.25"], found["w22.5"], found["w30"]) == (1 / 4, 2 / 4, 3 / 4)


@pytest.mark.parametrize("threshold", [11.25, 22.5, 30])
def test_thresholds_are_exact(threshold: float) -> None:
    metric = NormalAngle("within", threshold)
    metric.update(tilted([threshold - 1e-6, threshold + 1e-6]), tilted([0.0, 0.0]))
    assert float(metric.compute()) == 0.5


def test_matches_a_naive_loop() -> None:
    target, prediction = random_normals((2, 3, 9, 7)), torch.randn(2, 3, 9, 7)
    angles = []
    for p, t in zip(
        prediction.permute(0, 2, 3, 1).reshape(-1, 3).tolist(),
        target.permute(0, 2, 3, 1).reshape(-1, 3).tolist(),
        strict=True,
    ):
        if any(t):
            cosine = sum(a * b for a, b in zip(p, t, strict=True)) / math.hypot(*p) / math.hypot(*t)
            angles.append(math.degrees(math.acos(max(-1.0, min(1.0, cosine)))))
    found = measured(prediction, target)
    assert found["mean"] == pytest.approx(sum(angles) / len(angles), rel=1e-9)
    ordered = sorted(angles)
    middle = (ordered[(len(angles) - 1) // 2] + ordered[len(angles) // 2]) / 2
    assert found["median"] == pytest.approx(middle, abs=0.01)
    for d in (11.25, 22.5, 30):
        assert found[f"w{d}"] == pytest.approx(sum(a <= d for a in angles) / len(angles), rel=1e-12)


@settings(max_examples=20, deadline=None)
@given(cut=st.integers(1, 5), seed=st.integers(0, 1000))
def test_batches_may_be_cut_anyhow(cut: int, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    target, prediction = random_normals((6, 3, 4, 4), g), torch.randn(6, 3, 2, 2, generator=g)
    whole, parts = NormalAngle("mean"), NormalAngle("mean")
    whole.update(prediction, target)
    parts.update(prediction[:cut], target[:cut])
    parts.update(prediction[cut:], target[cut:])
    assert torch.equal(whole.histogram, parts.histogram)
    assert float(whole.compute()) == pytest.approx(float(parts.compute()), rel=1e-12, nan_ok=True)


def test_t12_raw_space_on_a_pair_of_planes() -> None:
    # z against x: 90 degrees; as PNG values (1, 1, 2) against (2, 1, 1): acos(5 / 6)
    prediction, target = tilted([0.0]), tilted([90.0])
    decoded, raw = NormalAngle("mean"), NormalAngle("mean", space="raw_uint8")
    for metric in (decoded, raw):
        metric.update(5 * prediction, target)
    assert float(decoded.compute()) == pytest.approx(90)
    assert float(raw.compute()) == pytest.approx(math.degrees(math.acos(5 / 6)))
    assert float(decoded.compute() / raw.compute()) == pytest.approx(2.68, abs=0.01)


def test_raw_space_is_the_angle_between_png_values() -> None:
    prediction, target = random_normals((1, 3, 8, 8)), random_normals((1, 3, 8, 8))
    both = (prediction.abs().sum(1, keepdim=True) > 0) & (target.abs().sum(1, keepdim=True) > 0)
    prediction, target = prediction * both, target * both
    png = [((n + 1) * 127.5).permute(0, 2, 3, 1)[both[:, 0]].double() for n in (prediction, target)]
    expected = torch.nn.functional.cosine_similarity(png[0], png[1]).acos().rad2deg()
    metric = NormalAngle("mean", space="raw_uint8")
    metric.update(prediction, target)
    assert float(metric.compute()) == pytest.approx(float(expected.mean()), rel=1e-6)
    assert float(expected.max()) <= 90  # the positive octant


def test_all_invalid_is_nan() -> None:
    found = measured(torch.randn(1, 3, 4, 4), torch.zeros(1, 3, 4, 4))
    assert all(math.isnan(v) for v in found.values())


def test_what_is_not_finite_is_not_hidden_but_at_invalid_pixels_does_not_count() -> None:
    prediction, target = tilted([5, 15]), tilted([0.0, 0.0])
    prediction[..., 1] = math.nan
    assert all(math.isnan(v) for v in measured(prediction, target).values())
    target[..., 1] = 0
    assert measured(prediction, target)["mean"] == pytest.approx(5)


def test_a_zero_prediction_is_ninety_degrees_off() -> None:
    found = measured(torch.zeros(1, 3, 1, 1), tilted([0.0]))
    assert found["mean"] == pytest.approx(90)
    assert found["w30"] == 0


def test_opposite_and_equal_normals() -> None:
    target = tilted([0.0])
    assert measured(-target, target)["mean"] == 180
    assert measured(-target, target)["median"] == pytest.approx(180, abs=0.01)
    assert measured(target, target)["mean"] == 0


def test_one_compute_group_and_spaces_stay_apart() -> None:
    target = random_normals((2, 3, 4, 4))
    shared = {name.replace(".", "_"): metric for name, metric in every().items()}
    one = MetricCollection(shared | {"raw": NormalAngle("mean", space="raw_uint8")})
    one.update(torch.randn(2, 3, 4, 4), torch.zeros(2, 3, 4, 4))  # all states are zero after this batch
    groups = sorted(sorted(g) for g in one.compute_groups.values())
    assert groups == [["mean", "median", "w11_25", "w22_5", "w30"], ["raw"]]
    one.update(torch.randn(2, 3, 4, 4), target)
    assert float(one["raw"].compute()) < float(one["mean"].compute())


def test_directions_survive_a_copy() -> None:
    metrics = deepcopy(every())
    assert {name: m.higher_is_better for name, m in metrics.items()} == {
        "mean": False, "median": False, "w11.25": True, "w22.5": True, "w30": True,
    }  # fmt: skip


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="statistic is 'mode'"):
        NormalAngle("mode")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="degrees is None"):
        NormalAngle("within")
    with pytest.raises(ValueError, match=r"degrees is 11\.25"):
        NormalAngle("mean", 11.25)
    for degrees in (0, -1, 181, 11.255):
        with pytest.raises(ValueError, match=r"multiple of 0\.01"):
            NormalAngle("within", degrees)
    with pytest.raises(ValueError, match="space is 'bgr'"):
        NormalAngle("mean", space="bgr")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unit normals"):
        NormalAngle("mean").update(torch.randn(1, 3, 2, 2), torch.zeros(1, 1, 2, 2))
