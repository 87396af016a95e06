"""AdapMTL's Eq. 6, by hand and by property (oracle T5)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from problems import two_heads
from secateur.problem.problem import Problem
from secateur.runs.config import build, parse, resolved
from secateur.weighting import AdaptiveWeighting, Equal, Fixed, adaptive_weights


def test_oracle() -> None:
    ratios = torch.tensor([0.1, 0.2, 0.3])
    assert adaptive_weights(ratios).tolist() == pytest.approx([2.0, 1.0, 2 / 3])
    assert adaptive_weights(ratios, variant="code").tolist() == pytest.approx([0.5, 1.0, 1.5])
    assert adaptive_weights(ratios, scale=5 * 0.3065)[1] == pytest.approx(5 * 0.3065)


def feed(weighting: AdaptiveWeighting, colour: list[float], shade: list[float]) -> list[dict]:
    return [
        weighting({"colour": torch.tensor(c), "shade": torch.tensor(s)})
        for c, s in zip(colour, shade, strict=True)
    ]


def test_window_by_hand() -> None:
    weighting = AdaptiveWeighting(window=3, warmup=0, size_factor=False, strength=1.0, normalize=False)
    weighting.start(two_heads(), 100)
    colour, shade = [1.0, 2.0, 1.0, 3.0, 2.0], [4.0, 4.4, 4.0, 4.4, 4.0]
    given = feed(weighting, colour, shade)
    assert given[2] == {"colour": 1.0, "shade": 1.0}  # the window is not full
    # last three: colour levels 1, 3, 2 with changes 1, 2, 1; shade levels 4, 4.4, 4 with changes .4
    r_colour, r_shade = (4 / 3) / 2.0, 0.4 / (12.4 / 3)
    mean = (r_colour + r_shade) / 2
    assert float(given[4]["colour"]) == pytest.approx(mean / r_colour, rel=1e-5)
    assert float(given[4]["shade"]) == pytest.approx(mean / r_shade, rel=1e-5)


def test_a_steady_task_counts_more_and_normalised_weights_have_mean_one() -> None:
    weighting = AdaptiveWeighting(window=4, warmup=2)
    weighting.start(two_heads(), 100)
    last = feed(weighting, [1.0, 2.0] * 5, [1.0, 1.01] * 5)[-1]
    assert float(last["shade"]) > 1 > float(last["colour"])
    assert float(last["shade"] + last["colour"]) == pytest.approx(2.0)


def test_shares_of_the_steps_and_counts() -> None:
    weighting = AdaptiveWeighting(window=0.02, warmup=0.25)
    weighting.start(two_heads(), 20_000)
    assert (weighting._length, weighting._begin) == (400, 5_000)
    weighting = AdaptiveWeighting(window=400, warmup=5_000)
    weighting.start(two_heads(), 20_000)
    assert (weighting._length, weighting._begin) == (400, 5_000)


def test_missing_tasks_keep_their_window() -> None:
    weighting = AdaptiveWeighting(window=2, warmup=0)
    weighting.start(two_heads(), 100)
    for value in (1.0, 1.5, 1.0):
        weighting({"colour": torch.tensor(value)})
        weighting({"shade": torch.tensor(value)})
    assert set(weighting({"colour": torch.tensor(1.0)})) == {"colour"}
    assert weighting.state_dict()["seen"] == {"colour": 4, "shade": 3}


def test_size_factor_is_backbone_over_heads() -> None:
    problem = two_heads()
    weighting = AdaptiveWeighting(strength=2.0)
    weighting.start(problem, 10)
    shared, own = 16 * 27 + 16 * 16 * 9, 5 * 16 + 8 * 16 + 8
    assert weighting._scale == pytest.approx(2.0 * shared / own)
    problem.model.register_module("unused", torch.nn.Linear(100, 100))  # serves no task, so it is no backbone
    weighting.start(Problem(problem.model, problem.tasks, problem.train), 10)
    assert weighting._scale == pytest.approx(2.0 * shared / own)


def test_nothing_is_divided_by_zero() -> None:
    weighting = AdaptiveWeighting(window=2, warmup=0)
    weighting.start(two_heads(), 100)
    last = feed(weighting, [0.0] * 6, [1.0] * 6)[-1]
    assert all(torch.isfinite(torch.as_tensor(w)) for w in last.values())


def test_fixed_and_equal() -> None:
    problem, losses = two_heads(), {"colour": torch.tensor(3.0), "shade": torch.tensor(1.0)}
    assert Equal()(losses) == {"colour": 1.0, "shade": 1.0}
    fixed = Fixed({"shade": 2.0})
    fixed.start(problem, 1)
    assert fixed(losses) == {"colour": 1.0, "shade": 2.0}
    with pytest.raises(ValueError, match=r"weights name \['sahde'\]"):
        Fixed({"sahde": 1.0}).start(problem, 1)


def test_bad_settings() -> None:
    with pytest.raises(ValueError, match="window 0"):
        AdaptiveWeighting(window=0)


def test_the_published_code_by_hand() -> None:
    """A mean of ratios over two steps, filled from the end of the warm-up on, in force one change later.

    Warm-up 2: losses 3, 4, ... count. Colour changes 1/2, 1/1, 2/3, 1/2; shade 0.5/4.5 and 0.5/4 in turn. At step 6 three
    changes are known and the last two, 1 and 2/3, are averaged; at step 7 2/3 and 1/2.
    """
    weighting = AdaptiveWeighting(window=2, warmup=2, variant="code", normalize=False)
    weighting.start(two_heads(), 7)
    colour = [9.0, 0.1, 1.0, 2.0, 1.0, 3.0, 2.0]
    shade = [0.1, 7.0, 4.0, 4.5, 4.0, 4.5, 4.0]
    given = feed(weighting, colour, shade)
    assert given[:5] == [{"colour": 1.0, "shade": 1.0}] * 5
    for now, r_colour, r_shade in (
        (given[5], (1 + 2 / 3) / 2, (0.5 / 4 + 0.5 / 4.5) / 2),
        (given[6], (2 / 3 + 1 / 2) / 2, (0.5 / 4.5 + 0.5 / 4) / 2),
    ):
        mean = (r_colour + r_shade) / 2
        assert float(now["colour"]) == pytest.approx(r_colour / mean, rel=1e-5)
        assert float(now["shade"]) == pytest.approx(r_shade / mean, rel=1e-5)


def test_the_published_code_resumes() -> None:
    straight, begun, resumed = (AdaptiveWeighting(window=3, warmup=2, variant="code") for _ in range(3))
    for weighting in (straight, begun, resumed):
        weighting.start(two_heads(), 20)
    colour, shade = [1.0 + (7 * k % 5) for k in range(12)], [2.0 + (3 * k % 4) for k in range(12)]
    whole = feed(straight, colour, shade)
    feed(begun, colour[:7], shade[:7])
    resumed.load_state_dict(begun.state_dict())
    assert feed(resumed, colour[7:], shade[7:]) == whole[7:]


@pytest.mark.parametrize(("variant", "first"), [("paper", 6), ("code", 7)])
def test_weights_that_never_change_are_said(variant: str, first: int) -> None:
    """Losses of the window's steps, and with the code's rule one more, are needed first."""
    problem = two_heads()
    settings = {"window": 3, "warmup": 5} if variant == "paper" else {"window": 3, "warmup": 2}
    weighting = AdaptiveWeighting(**settings, variant=variant)  # type: ignore[arg-type]
    weighting.start(problem, first)
    given = feed(weighting, [1.0, 2.0] * 5, [1.0, 1.1] * 5)
    assert given[first - 2] == {"colour": 1.0, "shade": 1.0}
    assert given[first - 1] != {"colour": 1.0, "shade": 1.0}
    with pytest.warns(
        UserWarning, match=rf"from step {first} on, and there are {first - 1}: every task will weigh 1"
    ):
        weighting.start(problem, first - 1)


@pytest.mark.parametrize("recipe", ["adapmtl_paper", "adapmtl_reference"])
def test_the_published_recipes_weigh_in_short_runs_too(recipe: str) -> None:
    weighting = build("weighting", resolved(parse([recipe])))
    weighting.start(two_heads(), 20_000)
    assert (weighting._length, weighting._begin) == (
        {"adapmtl_paper": 400, "adapmtl_reference": 500}[recipe],
        5_000,
    )
    weighting.start(two_heads(), 100)
    last = feed(weighting, [1.0, 2.0] * 50, [1.0, 1.1] * 50)[-1]
    assert float(last["colour"]) != float(last["shade"])


def in_turn() -> Problem:
    """Four tasks with a loader each, that take turns."""
    problem = two_heads()
    names = ["colour", "shade", "tint", "tone"]
    tasks = dict.fromkeys(names, problem.tasks["colour"])
    train = {name: [(x, targets["colour"]) for x, targets in problem.train] for name in names}
    return replace(problem, tasks=tasks, train=train, val=None, test=None)


@pytest.mark.parametrize("variant", ["paper", "code"])
def test_windows_that_tasks_in_turn_never_fill_are_said_before_training(variant: str) -> None:
    steps = 40
    weighting = AdaptiveWeighting(window=0.3, size_factor=False, variant=variant)  # type: ignore[arg-type]
    with pytest.warns(
        UserWarning, match=r"'colour' and 'shade' and 'tint' and others will have some .* window=3\b"
    ):
        weighting.start(in_turn(), steps)
    shorter = AdaptiveWeighting(window=3, size_factor=False, variant=variant)  # type: ignore[arg-type]
    shorter.start(in_turn(), steps)
    seen = {
        float(shorter({name: torch.tensor(1.0 + 0.1 * (k % 3 + row * k % 2))})[name])
        for k in range(steps // 4)
        for row, name in enumerate(["colour", "shade", "tint", "tone"])
    }
    assert seen != {1.0}


def feed_some(weighting: AdaptiveWeighting, losses: dict[str, torch.Tensor]) -> None:
    """Sixty batches, of which one in ten has the shade."""
    for k in range(60):
        weighting(losses if k % 10 == 5 else {"colour": losses["colour"]})


def test_a_window_that_batches_without_the_task_never_fill_is_said_once() -> None:
    weighting = AdaptiveWeighting(window=10, warmup=0)
    weighting.start(two_heads(), 60)
    losses = {"colour": torch.tensor(1.0), "shade": torch.tensor(2.0)}
    with pytest.warns(
        UserWarning, match=r"'shade' will have some 5 losses by step 60, .* after 11.* window=1\b"
    ) as said:
        feed_some(weighting, losses)
    assert len(said) == 1
