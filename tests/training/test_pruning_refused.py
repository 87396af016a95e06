"""Pruning in a user's own loop: what is refused, when, and in which words."""

# ruff: noqa: PT012, SIM117 (an error inside a block of Pruning is what is looked at)

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import islice

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from loops import STEPS, adamw, endless, loop, overall, own_loop
from problems import equal, tasks, two_heads, weights
from secateur import (
    AdaptiveWeighting,
    Dense,
    Distillation,
    Fixed,
    GradualMagnitude,
    GroupLasso,
    LearnedThreshold,
    LotteryTicket,
    Pruning,
    SoftThreshold,
    UncertaintyWeighting,
    compact,
    evaluate,
    export,
    fit,
    save,
)
from secateur.problem import Problem
from secateur.pruning import Sparsifier, is_effective

pytestmark = pytest.mark.filterwarnings("ignore:LearnedThreshold. the thresholds")


def test_a_step_without_a_loss() -> None:
    problem = two_heads()
    with pytest.raises(RuntimeError, match=r"no loss since the last step; train on pruning\.loss"):
        with Pruning(problem, SoftThreshold(0.2), steps=4) as pruning:
            optimizer = pruning.attach(adamw(pruning.groups()))
            problem.model(problem.train[0][0])["shade"].sum().backward()
            optimizer.step()
            pruning.step()
    assert not is_effective(problem.model)


def test_a_loss_of_ones_own_is_said() -> None:
    problem = two_heads()
    with Pruning(problem, SoftThreshold(0.2), steps=STEPS) as pruning:
        optimizer = pruning.attach(adamw(pruning.groups()))
        for x, targets in islice(endless(problem), STEPS):
            predictions = problem.model(x)
            sum(problem.tasks[t].loss(predictions[t], targets[t]) for t in targets).backward()
            optimizer.step()
            optimizer.zero_grad()
            pruning.step(own_loss=True)
    assert overall(problem) == pytest.approx(0.2, abs=0.0005)


@pytest.mark.parametrize(
    ("method", "weighting", "teacher", "who"),
    [
        (SoftThreshold(0.2), Fixed({"shade": 2.0}), False, "Fixed"),
        (SoftThreshold(0.2), UncertaintyWeighting(), False, "UncertaintyWeighting"),
        (LearnedThreshold(0.2, pressure="l1_density"), None, False, "LearnedThreshold"),
        (SoftThreshold(0.2), None, True, "Distillation"),
    ],
)
def test_a_loss_of_ones_own_cannot_replace_what_is_part_of_it(method, weighting, teacher, who) -> None:
    problem = two_heads()
    taught = Distillation(two_heads().model) if teacher else None
    with pytest.raises(ValueError, match=f"{who} is part of the loss"):
        with Pruning(problem, method, weighting, steps=4, distillation=taught) as pruning:
            optimizer = pruning.attach(adamw(pruning.groups()))
            problem.model(problem.train[0][0])["shade"].sum().backward()
            optimizer.step()
            pruning.step(own_loss=True)


@pytest.mark.parametrize("call", ["groups", "step", "density", "state_dict", "leave"])
def test_not_entered(call: str) -> None:
    pruning = Pruning(two_heads(), SoftThreshold(0.2), steps=4)
    with pytest.raises(RuntimeError, match=r"not entered, or was left; write `with Pruning"):
        getattr(pruning, call)()


def test_one_pruning_is_one_training() -> None:
    problem = two_heads()
    pruning = Pruning(problem, SoftThreshold(0.2), steps=4)
    pruning.enter()
    with pytest.raises(RuntimeError, match="entered already"):
        pruning.enter()
    pruning.leave(early=True)
    with pytest.raises(RuntimeError, match="entered already"):
        pruning.enter()
    pruning.undo()


@pytest.mark.parametrize("second", [Dense, lambda: SoftThreshold(0.2)])
def test_two_prunings_on_one_model(second: Callable[[], Sparsifier]) -> None:
    problem = two_heads()
    with Pruning(problem, SoftThreshold(0.2), steps=STEPS) as pruning:
        with pytest.raises(RuntimeError, match="being pruned already; leave the other Pruning first"):
            with Pruning(problem, second(), steps=4):
                pass
        with pytest.raises(RuntimeError, match="being pruned already"):
            fit(Problem(nn.ModuleDict({"in": problem.model})["in"], problem.tasks, problem.train), steps=2)
        fit(Problem(copy.deepcopy(problem.model), problem.tasks, problem.train), SoftThreshold(0.3), steps=4)
        optimizer = pruning.attach(adamw(pruning.groups()))  # the first is not disturbed
        for x, targets in loop(pruning, optimizer):
            pruning.loss(problem.model(x), targets).backward()
    assert overall(problem) == pytest.approx(0.2, abs=0.0005)


def test_a_model_that_is_wrapped_twice() -> None:
    problem = two_heads()
    wrapped = nn.DataParallel(nn.DataParallel(problem.model))
    own_loop(Problem(wrapped, problem.tasks, problem.train), SoftThreshold(0.2), steps=STEPS)
    assert overall(problem) == pytest.approx(0.2, abs=0.0005)


def test_an_optimizer_without_the_groups_names_what_is_missing() -> None:
    problem = two_heads()
    model = problem.model
    with Pruning(problem, SoftThreshold(0.2), UncertaintyWeighting(), steps=4) as pruning:
        with pytest.raises(ValueError, match=r"\(AdamW\) lacks .* 1 of the method's or the weighting's own"):
            pruning.attach(torch.optim.AdamW(model.parameters()))
        with pytest.raises(
            ValueError, match=r"lacks .*trunk\.0\.weight, trunk\.0\.bias, trunk\.1\.weight, 7 more"
        ):
            pruning.attach(torch.optim.SGD(model.colour.parameters(), lr=0.1))
        pruning.leave(early=True)
    with Pruning(problem, GroupLasso(density=0.5), steps=4) as pruning:
        with pytest.raises(
            ValueError, match=r"has eps = 1e-08 for trunk\.\d\.weight, which its group asks to be 1e-06"
        ):
            pruning.attach(torch.optim.Adam(model.parameters()))
        pruning.leave(early=True)
    problem = two_heads()
    with pytest.raises(ValueError, match="lacks parameters that training needs"):
        fit(
            problem,
            weighting=UncertaintyWeighting(),
            steps=2,
            optimizer=lambda groups: torch.optim.Adam(problem.model.parameters()),
        )


def test_calls_out_of_turn() -> None:
    problem = two_heads()
    x, targets = problem.train[0]

    def begun() -> tuple[Pruning, torch.optim.Optimizer]:
        pruning = Pruning(problem, SoftThreshold(0.2), steps=2).enter()
        return pruning, pruning.attach(adamw(pruning.groups()))

    pruning, optimizer = begun()
    pruning.loss(problem.model(x), targets).backward()
    pruning.step()
    with pytest.raises(RuntimeError, match=r"pruning\.step\(\) was called before optimizer\.step\(\)"):
        optimizer.step()
    pruning.undo()
    pruning, optimizer = begun()
    pruning.loss(problem.model(x), targets).backward()
    optimizer.step()
    with pytest.raises(RuntimeError, match="stepped twice"):
        optimizer.step()
    pruning.undo()
    optimizer.step()  # nothing of ours is left on it
    pruning = Pruning(problem, SoftThreshold(0.2), steps=2).enter()
    with pytest.raises(RuntimeError, match="waits for its optimizer"):
        pruning.loss(problem.model(x), targets)
    pruning.undo()
    with pytest.raises(RuntimeError, match="All 2 steps are done"):
        own_loop(problem, steps=2, after=lambda p: p.step() if p.done == 2 else None)
    with pytest.raises(RuntimeError, match="Round 2 of 2 waits for its optimizer"):
        with Pruning(problem, LotteryTicket(0.5), steps=2) as pruning:
            optimizer = pruning.attach(adamw(pruning.groups()))
            for x, targets in loop(pruning, optimizer, 3):
                pruning.loss(problem.model(x), targets).backward()


def test_left_too_early() -> None:
    problem = two_heads()
    with pytest.raises(RuntimeError, match=r"left after 3 of 30 steps"):
        with Pruning(problem, SoftThreshold(0.2), steps=STEPS) as pruning:
            optimizer = pruning.attach(adamw(pruning.groups()))
            for x, targets in loop(pruning, optimizer, 3):
                pruning.loss(problem.model(x), targets).backward()
    assert not is_effective(problem.model)
    assert overall(problem) == pytest.approx(0.2, abs=0.0005)
    with Pruning(problem, SoftThreshold(0.1), steps=STEPS) as pruning:
        pruning.leave(early=True)
    assert overall(problem) == pytest.approx(0.1, abs=0.0005)
    with pytest.raises(
        ValueError, match=r"LotteryTicket: density 0\.05 was asked, and 1\.0000 of the weights are kept"
    ):
        with Pruning(problem, LotteryTicket(0.05), steps=STEPS) as pruning:
            pruning.leave(early=True)


def test_zeros_that_something_else_trained_are_said() -> None:
    problem = two_heads()
    with pytest.raises(ValueError, match=r"GradualMagnitude: \d+ weights that were pruned are not zero"):
        with Pruning(problem, GradualMagnitude(0.2), steps=STEPS) as pruning:
            optimizer = pruning.attach(adamw(pruning.groups()))
            for x, targets in loop(pruning, optimizer):
                pruning.loss(problem.model(x), targets).backward()
            with torch.no_grad():
                problem.model.colour.weight.add_(1.0)


def test_weights_that_became_nan_are_said_and_the_checkpoint_stays(tmp_path) -> None:
    def root(prediction: Tensor, target: Tensor) -> Tensor:
        return (prediction - prediction.detach()).abs().sqrt().sum() + (prediction - target).abs().mean()

    good = two_heads()
    problem = Problem(good.model, {**tasks(), "shade": type(tasks()["shade"])(root)}, good.train)
    path = tmp_path / "c.pt"
    with pytest.raises(FloatingPointError):
        fit(problem, steps=6, checkpoint=path, checkpoint_every=1)
    assert not path.exists()
    with pytest.raises(
        FloatingPointError, match=r"NaN or infinite: trunk\.0\.weight.*gradient of task 'shade'"
    ):
        problem = Problem(two_heads().model, problem.tasks, good.train)
        own_loop(problem, steps=1)


def test_a_state_of_another_training_is_refused_by_what_differs() -> None:
    problem = two_heads()
    with Pruning(problem, SoftThreshold(0.2), AdaptiveWeighting(), steps=STEPS) as pruning:
        state = pruning.state_dict()
        pruning.leave(early=True)
    others = {
        r"method\.density is 0\.2 there and 0\.1 here": lambda: Pruning(
            problem, SoftThreshold(0.1), AdaptiveWeighting(), steps=STEPS
        ),
        r"method is SoftThreshold there and GradualMagnitude here": lambda: Pruning(
            problem, GradualMagnitude(0.2), steps=STEPS
        ),
        r"weighting\.window is 0\.1 there and 0\.2 here": lambda: Pruning(
            problem, SoftThreshold(0.2), AdaptiveWeighting(window=0.2), steps=STEPS
        ),
        r"steps is 30 there and 31 here": lambda: Pruning(
            problem, SoftThreshold(0.2), AdaptiveWeighting(), steps=31
        ),
    }
    for match, make in others.items():
        with make() as pruning:
            with pytest.raises(ValueError, match=match):
                pruning.load_state_dict(state)
            pruning.leave(early=True)


def test_a_checkpoint_of_another_training_is_refused_by_what_differs(tmp_path) -> None:
    path = tmp_path / "c.pt"
    asked = {"steps": 6, "checkpoint": path, "optimizer": adamw}
    fit(two_heads(), SoftThreshold(0.2), **asked)
    before = path.read_bytes()
    for match, method, options in [
        (r"method\.density is 0\.2 there and 0\.05 here", SoftThreshold(0.05), {}),
        ("method is SoftThreshold there and Sparsifier here", Dense(), {}),
        ("seed is 0 there and 1 here", SoftThreshold(0.2), {"seed": 1}),
        (
            r"optimizer\.lr is 0\.01 there and 0\.1 here",
            SoftThreshold(0.2),
            {"optimizer": lambda g: torch.optim.AdamW(g, lr=0.1)},
        ),
        (
            "optimizer is AdamW there and SGD here",
            SoftThreshold(0.2),
            {"optimizer": lambda g: torch.optim.SGD(g, lr=0.1)},
        ),
        ("distillation is None there", SoftThreshold(0.2), {"distillation": Distillation(two_heads().model)}),
    ]:
        problem = two_heads()
        initial = weights(problem)
        with pytest.raises(ValueError, match=match):
            fit(problem, method, **{**asked, **options})
        assert equal(initial, weights(problem))
        assert not is_effective(problem.model)
        assert path.read_bytes() == before


def test_what_needs_plain_weights_says_so_meanwhile(tmp_path) -> None:
    problem = two_heads()
    x = problem.train[0][0]
    with Pruning(problem, SoftThreshold(0.2), steps=STEPS) as pruning:
        for who, use in {
            "save": lambda: save(problem.model, tmp_path / "n.safetensors"),
            "compact": lambda: compact(problem.model, x),
            "export": lambda: export(problem.model, x, tmp_path / "n.onnx", format="onnx"),
        }.items():
            with pytest.raises(
                ValueError, match=rf"^{who}: trunk\.0 is being pruned, and its zeros are not in its weights"
            ):
                use()
        evaluate(Problem(problem.model, problem.tasks, problem.train, problem.val), "val")
        pruning.leave(early=True)
    save(problem.model, tmp_path / "n.safetensors")


def test_predictions_that_do_not_fit_name_the_task() -> None:
    problem = two_heads()
    x, targets = problem.train[0]
    with Pruning(problem, SoftThreshold(0.2), steps=4) as pruning:
        pruning.attach(adamw(pruning.groups()))
        predictions = problem.model(x)
        with pytest.raises(
            ValueError, match=r"targets name \['shade'\], but the model returned only \['colour'\]"
        ):
            pruning.loss({"colour": predictions["colour"]}, targets)
        with pytest.raises(ValueError, match="returned Tensor; it must return a dict"):
            pruning.loss(predictions["colour"], targets)
        pruning.leave(early=True)


@pytest.mark.parametrize(("steps", "accumulate"), [(0, 1), (-1, 1), (4, 0), (12.5, 1), (None, 1)])
def test_settings_out_of_range(steps: int, accumulate: int) -> None:
    with pytest.raises(ValueError, match=r"(steps|accumulate) is .*; give a whole number of at least 1"):
        Pruning(two_heads(), steps=steps, accumulate=accumulate)


def test_a_weight_under_the_users_own_parametrization_is_left_out_and_said() -> None:
    problem = two_heads()
    weight_norm(problem.model.colour)
    with pytest.warns(UserWarning, match=r"Not pruned, because they are under a parametrization.*colour"):
        own_loop(problem, SoftThreshold(0.2), steps=STEPS)
    assert hasattr(problem.model.colour, "parametrizations")
