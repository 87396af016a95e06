"""Min-max weighting: the projection against a search, the step by hand, and what the worst task gets."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from problems import equal, two_heads, weights
from secateur import MinMax, fit
from secateur.weighting.min_max import ascended, onto_simplex

points = st.lists(st.floats(-3, 3), min_size=1, max_size=6)


def step(weighting: MinMax, **losses: float) -> dict[str, float]:
    return {t: float(w) for t, w in weighting({t: torch.tensor(v) for t, v in losses.items()}).items()}


def begun(**options: object) -> MinMax:
    weighting = MinMax(**options)  # type: ignore[arg-type]
    weighting.start(two_heads(), 10)  # the scale is that of the first loss
    return weighting


@given(points, points)
@settings(max_examples=60, deadline=None)
def test_the_projection_is_the_nearest_point_of_the_simplex(values: list[float], others: list[float]) -> None:
    point = torch.tensor(values, dtype=torch.float64)
    found = onto_simplex(point)
    assert (found >= 0).all()
    assert float(found.sum()) == pytest.approx(1.0)
    assert torch.allclose(onto_simplex(found), found)
    assert torch.allclose(onto_simplex(point + 1.5), found), "what all tasks lose alike moves nothing"
    other = torch.tensor((others * len(values))[: len(values)], dtype=torch.float64).softmax(0)
    assert float((point - found).norm()) <= float((point - other).norm()) + 1e-12


def test_a_step_by_hand() -> None:
    """(1/2, 1/2) + ((1.4, 0.8) - 5·0) / 50 = (0.528, 0.516), whose sum is 0.044 too much."""
    half = torch.tensor([0.5, 0.5], dtype=torch.float64)
    one = ascended(half, torch.tensor([1.4, 0.8]).double(), 5.0, 50.0)
    assert one.tolist() == pytest.approx([0.506, 0.494])
    two = ascended(one, torch.tensor([1.4, 0.8]).double(), 5.0, 50.0)
    assert two[0] == pytest.approx(0.506 + 0.006 - 0.1 * 0.006)
    for _ in range(300):  # v - 1/2 = (L - mean L) / γ at rest
        two = ascended(two, torch.tensor([1.4, 0.8]).double(), 5.0, 50.0)
    assert two[0] == pytest.approx(0.5 + 0.3 / 5)
    assert ascended(half, torch.tensor([9.0, 0.0]).double(), 0.0, 1.0).tolist() == [1.0, 0.0]


def test_losses_of_any_scale_compare() -> None:
    one, other = begun(every=2), begun(every=2)
    for colour, shade in ((4.0, 2.0), (3.0, 2.0), (2.0, 1.5), (1.0, 1.4)):
        a, b = step(one, colour=colour, shade=shade), step(other, colour=1000 * colour, shade=shade)
        assert a["colour"] / a["shade"] == pytest.approx(1000 * b["colour"] / b["shade"])
        assert a["colour"] + a["shade"] == pytest.approx(2.0)


def test_the_task_that_has_fallen_least_gains() -> None:
    weighting = begun(every=1)
    assert step(weighting, colour=2.0, shade=4.0) == pytest.approx({"colour": 4 / 3, "shade": 2 / 3})
    assert weighting.state_dict()["shares"].tolist() == [0.5, 0.5]
    step(
        weighting, colour=1.0, shade=4.0
    )  # f·L is 1/2 and 1; half of the difference over β goes from one to the other
    assert weighting.state_dict()["shares"].tolist() == pytest.approx([0.495, 0.505])
    for _ in range(300):
        found = step(weighting, colour=1.0, shade=4.0)
    assert weighting.state_dict()["shares"].tolist() == pytest.approx([0.45, 0.55]), "at rest: ± 1/4 over γ"
    assert found["shade"] * 4 / (found["colour"] * 2) == pytest.approx(0.55 / 0.45)


def test_the_scale_is_that_of_the_first_losses_of_each_task() -> None:
    weighting = MinMax(every=1, warmup=0.2)
    weighting.start(two_heads(), 10)  # two losses each
    for losses in (
        {"colour": 1.0},
        {"colour": 3.0},
        {"colour": 9.0, "shade": 4.0},
        {"colour": 9.0, "shade": 2.0},
    ):
        step(weighting, **losses)
    found = step(weighting, colour=5.0, shade=5.0)
    state = weighting.state_dict()
    assert (state["size"] / state["count"]).tolist() == [2.0, 3.0]
    assert found["colour"] / found["shade"] == pytest.approx(
        float(state["shares"][0] / state["shares"][1]) * 1.5
    )


def test_factors_by_hand() -> None:
    weighting = begun(every=1, factors={"shade": 3.0})
    assert step(weighting, colour=5.0, shade=1.0) == {"colour": 0.5, "shade": 1.5}
    step(weighting, colour=5.0, shade=1.0)  # f·L is 5 and 3
    assert weighting.state_dict()["shares"].tolist() == pytest.approx([0.52, 0.48])
    with pytest.raises(ValueError, match="factors name \\['light'\\], but the tasks are"):
        MinMax(factors={"light": 2.0}).start(two_heads(), 10)


def test_the_worst_task_is_optimised() -> None:
    """Two tasks share x; one wants it at 0, one at 1. Equal shares end at 3/4, min max where the two losses are equal, at 0.634."""
    weighting = begun(gamma=0.0, beta=20.0, every=1, factors={})
    x = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    for _ in range(4000):
        losses = {"colour": x.square(), "shade": 3 * (1 - x).square()}
        found = weighting(losses)
        (slope,) = torch.autograd.grad(sum(found[t] * loss for t, loss in losses.items()), x)
        with torch.no_grad():
            x -= 0.01 * slope
    assert x.item() == pytest.approx((3 - 3**0.5) / 2, abs=1e-3)


def test_a_task_that_is_missing_counts_as_it_was() -> None:
    weighting = begun(every=1)
    assert step(weighting, colour=3.0) == {"colour": 1.0}
    assert weighting.state_dict()["shares"].tolist() == [0.5, 0.5], "of shade nothing is known: as the others"
    step(weighting, colour=1.0, shade=2.0)
    before = weighting.state_dict()["last"].clone()
    found = step(weighting, colour=1.0)
    assert set(found) == {"colour"}
    assert weighting.state_dict()["last"][1] == before[1]
    assert weighting.state_dict()["shares"][1] > 0.5
    assert weighting({}) == {}


def test_odd_losses_spoil_nothing() -> None:
    weighting = begun(every=1)
    step(weighting, colour=2.0, shade=0.0)
    found = step(weighting, colour=math.inf, shade=0.0)
    assert all(math.isfinite(w) for w in found.values())
    found = step(weighting, colour=1.0, shade=-3.0)
    assert all(math.isfinite(w) and w > 0 for w in found.values())
    assert math.isfinite(float(weighting.state_dict()["shares"].sum()))


def test_it_resumes_exactly() -> None:
    one, two = begun(every=3), begun(every=3)
    draw = torch.Generator().manual_seed(0)
    losses = torch.rand(20, 2, generator=draw).tolist()
    for colour, shade in losses[:11]:
        step(one, colour=colour, shade=shade)
    two.load_state_dict(one.state_dict())
    for colour, shade in losses[11:]:
        assert step(one, colour=colour, shade=shade) == step(two, colour=colour, shade=shade)


def test_it_trains_and_goes_on_where_it_stopped(tmp_path) -> None:
    straight, stopped = two_heads(partial=True), two_heads(partial=True)
    rows = fit(straight, weighting=MinMax(every=2), steps=20, log_every=1).rows
    assert rows[-1]["weight"]["colour"] != rows[0]["weight"].get("colour", 1.0)

    class Stop(Exception):
        pass

    def halt(rows: list) -> None:
        if rows and rows[-1]["step"] >= 11:
            raise Stop

    path = tmp_path / "c.pt"
    with pytest.raises(Stop):
        fit(
            two_heads(partial=True),
            weighting=MinMax(every=2),
            steps=20,
            log_every=1,
            checkpoint=path,
            checkpoint_every=3,
            on_log=halt,
        )
    fit(stopped, weighting=MinMax(every=2), steps=20, log_every=1, checkpoint=path, checkpoint_every=3)
    assert equal(weights(straight), weights(stopped))


def test_one_task_weighs_one() -> None:
    weighting, problem = MinMax(every=1), two_heads()
    problem.tasks.pop("shade")  # type: ignore[attr-defined]
    weighting.start(problem, 10)
    assert [step(weighting, colour=c) for c in (3.0, 1.0)] == [{"colour": 1.0}] * 2


@pytest.mark.parametrize(
    "options",
    [
        {"gamma": -1.0},
        {"gamma": 60.0},
        {"beta": 0.0, "gamma": 0.0},
        {"beta": math.nan},
        {"every": 0},
        {"warmup": 1.0},
        {"factors": {"shade": 0.0}},
    ],
)
def test_bad_settings(options: dict) -> None:
    with pytest.raises(ValueError, match=r"MinMax: .* give"):
        MinMax(**options)
