"""Pruning in a user's own loop: models, optimizers, data and states that are refused, when, and in which words."""

# ruff: noqa: PT012, SIM117 (an error inside a block of Pruning is what is looked at)

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from loops import STEPS, adamw, overall, own_loop, trained
from problems import equal, tasks, two_heads, weights
from secateur import (
    AdaptiveWeighting,
    Dense,
    Distillation,
    GradualMagnitude,
    GroupLasso,
    OneShot,
    Pruning,
    ReweightedL1,
    SoftThreshold,
    Sparsifier,
    UncertaintyWeighting,
    compact,
    evaluate,
    export,
    fit,
    save,
)
from secateur.problem import Problem
from secateur.pruning import is_effective

pytestmark = pytest.mark.filterwarnings("ignore:LearnedThreshold. the thresholds")


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
    with Pruning(problem, GroupLasso(density=0.5, adam_eps=1e-6), steps=4) as pruning:
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


def test_zeros_that_something_else_trained_are_said() -> None:
    problem = two_heads()
    with pytest.raises(ValueError, match=r"GradualMagnitude: \d+ weights that were pruned are not zero"):
        with Pruning(problem, GradualMagnitude(0.2), steps=STEPS) as pruning:
            optimizer = pruning.attach(adamw(pruning.groups()))
            trained(pruning, optimizer)
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
    with pytest.raises(FloatingPointError, match=r"gradient of task 'shade' became NaN .* at step 1;"):
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
            ValueError, match=r"targets name \['shade'\], but the model returned only dict \{colour: "
        ):
            pruning.loss({"colour": predictions["colour"]}, targets)
        with pytest.raises(ValueError, match=r"returned Tensor .*; it must return a dict"):
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


@pytest.mark.parametrize("method", [OneShot(0.5, "random"), SoftThreshold(0.5, pattern="4x1")])
def test_weights_that_are_kept_and_stay_zero_are_said(method: Sparsifier) -> None:
    """What the heads make of dead channels has no gradient, so that its zeros stay, also in blocks that are worth much."""
    problem = two_heads(width=8)
    with torch.no_grad():
        problem.model.trunk[4].bias[:4] = -1000.0
        for layer in (problem.model.colour, problem.model.shade[0]):
            layer.weight[::2, :4], layer.weight[1::2, :4] = 0.0, 5.0
    with pytest.warns(
        UserWarning, match=r"density 0\.5 was asked, and 0\.4\d+ of .* are kept are zero all the same"
    ):
        own_loop(problem, method, steps=STEPS)


@pytest.mark.parametrize("ramp", [(0.1,), 0.5, ("a", "b"), (0.1, 0.2, 0.3), (0.5, 0.5)])
def test_a_ramp_is_two_shares(ramp: Any) -> None:
    for make in (SoftThreshold, GradualMagnitude, ReweightedL1, GroupLasso):
        with pytest.raises(ValueError, match="give two shares of the steps"):
            make(density=0.2, ramp=ramp)
