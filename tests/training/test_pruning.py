"""Pruning in a user's own loop: what loops do besides."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import islice

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from loops import STEPS, adamw, endless, loop, overall, own_loop
from problems import batches, equal, tasks, two_heads, weights
from secateur import (
    EMA,
    AdaptiveWeighting,
    Dense,
    GradualMagnitude,
    GroupLasso,
    LearnedThreshold,
    Pruning,
    SoftThreshold,
    UncertaintyWeighting,
    fit,
)
from secateur.problem import Problem, prunable
from secateur.pruning import Shrinkage, Sparsifier, attach, is_effective

KINDS = {
    "soft_threshold": lambda: SoftThreshold(0.2),
    "learned": lambda: LearnedThreshold(0.2, pressure="controller"),
    "gradual_magnitude": lambda: GradualMagnitude(0.2),
    "group_lasso": lambda: GroupLasso(density=0.5),
}
every_kind = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS.keys())
pytestmark = pytest.mark.filterwarnings("ignore:LearnedThreshold. the thresholds")


def test_the_example_of_the_readme_page() -> None:
    problem = two_heads()
    model, loader, epochs = problem.model, problem.train, 5
    with Pruning(
        problem, SoftThreshold(density=0.1), AdaptiveWeighting(), steps=len(loader) * epochs
    ) as pruning:
        optimizer = pruning.attach(torch.optim.AdamW(pruning.groups(), lr=3e-4))
        for _ in range(epochs):
            for x, targets in loader:
                loss = pruning.loss(model(x), targets)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                pruning.step()
    assert overall(problem) == pytest.approx(0.1, abs=0.0005)


@every_kind
@pytest.mark.parametrize("accumulate", [2, 3])
def test_accumulated_gradients_are_those_of_the_large_batch(
    make: Callable[[], Sparsifier], accumulate: int
) -> None:
    problem = two_heads()
    with Pruning(problem, make(), UncertaintyWeighting(), steps=STEPS, accumulate=accumulate) as pruning:
        optimizer = pruning.attach(adamw(pruning.groups()))
        data = endless(problem)
        for _ in range(STEPS):
            for x, targets in islice(data, accumulate):
                pruning.loss(problem.model(x), targets).backward()
            optimizer.step()
            optimizer.zero_grad()
            pruning.step()
        assert pruning.done == STEPS
    assert overall(problem) <= 0.52  # the lasso prunes what is shared


def test_the_loss_is_divided_by_the_batches_of_a_step() -> None:
    problem = two_heads()
    problem.model.eval()
    x, targets = problem.train[0]
    found = []
    for accumulate in (1, 4):
        with Pruning(problem, Dense(), steps=1, accumulate=accumulate) as pruning:
            pruning.attach(adamw(pruning.groups()))
            found.append(float(pruning.loss(problem.model(x), targets).detach()))
            pruning.leave(early=True)
    assert found[0] == pytest.approx(4 * found[1])


@every_kind
def test_clipped_gradients(make: Callable[[], Sparsifier]) -> None:
    problem = two_heads()
    with Pruning(problem, make(), steps=STEPS) as pruning:
        optimizer = pruning.attach(adamw(pruning.groups()))
        for x, targets in loop(pruning, optimizer):
            pruning.loss(problem.model(x), targets).backward()
            nn.utils.clip_grad_norm_(problem.model.parameters(), 0.1)
    assert overall(problem) <= 0.52  # the lasso prunes what is shared


@every_kind
@pytest.mark.parametrize("scale", [2.0**8, 3e38], ids=["normal", "the_first_steps_are_skipped"])
@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step")
def test_a_gradient_scaler(make: Callable[[], Sparsifier], scale: float) -> None:
    problem = two_heads()
    scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    skipped = 0
    with Pruning(problem, make(), AdaptiveWeighting(), steps=STEPS) as pruning:
        optimizer = pruning.attach(adamw(pruning.groups()))
        for x, targets in islice(endless(problem), STEPS):
            before = scaler.get_scale()
            scaler.scale(pruning.loss(problem.model(x), targets)).backward()
            scaler.step(optimizer)
            scaler.update()
            skipped += scaler.get_scale() < before
            optimizer.zero_grad()
            pruning.step()
    assert (skipped > 0) == (scale > 2.0**9)
    assert overall(problem) <= 0.52  # the lasso prunes what is shared


@every_kind
@pytest.mark.parametrize("backend", [pytest.param("eager", marks=pytest.mark.slow), "aot_eager"])
@pytest.mark.parametrize("inside", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_compiled_model(make: Callable[[], Sparsifier], backend: str, inside: bool) -> None:
    torch._dynamo.reset()
    plain, problem = two_heads(), two_heads()
    compiled = torch.compile(problem.model, backend=backend)
    asked = Problem(compiled, problem.tasks, problem.train) if inside else problem
    for trained, model, given in ((plain, plain.model, plain), (problem, compiled, asked)):
        torch.manual_seed(0)
        with Pruning(given, make(), steps=STEPS) as pruning:
            optimizer = pruning.attach(
                torch.optim.SGD(pruning.groups(), lr=0.05) if False else adamw(pruning.groups())
            )
            for x, targets in loop(pruning, optimizer):
                pruning.loss(model(x), targets).backward()
        assert not is_effective(trained.model)
    of_groups = backend != "eager" and isinstance(
        make(), GroupLasso
    )  # roundings may decide otherwise on one group
    slack = 16 * 9 / sum(p.numel() for p in prunable(plain.model).values()) if of_groups else 1e-9
    assert overall(problem) == pytest.approx(overall(plain), abs=slack)
    with torch.no_grad():
        x = problem.train[0][0]
        assert torch.allclose(compiled.eval()(x)["shade"], problem.model.eval()(x)["shade"], atol=1e-5)


@every_kind
@pytest.mark.parametrize("when", ["before", "inside"])
def test_an_average_gets_the_zeros_and_nothing_else_than_the_average(
    make: Callable[[], Sparsifier], when: str
) -> None:
    problem = two_heads()

    def averaged() -> AveragedModel:
        return AveragedModel(problem.model, multi_avg_fn=get_ema_multi_avg_fn(0.8))

    ema = averaged() if when == "before" else None
    with Pruning(problem, make(), steps=STEPS) as pruning:
        ema = pruning.follow(ema or averaged())
        optimizer = pruning.attach(adamw(pruning.groups()))
        for x, targets in loop(pruning, optimizer):
            pruning.loss(problem.model(x), targets).backward()
            ema.update_parameters(problem.model)
    own = prunable(problem.model)
    for name, weight in prunable(ema.module).items():
        assert torch.equal(weight == 0, own[name] == 0) or ((own[name] == 0) <= (weight == 0)).all(), name
        kept = own[name] != 0
        spread = (own[name][kept] - weight[kept]).norm() / own[name][kept].norm()
        assert spread < 0.3, f"{name}: the average is of the weights that the model has, shrunk like them"
    assert [type(m) for m in ema.module.modules()] == [type(m) for m in two_heads().model.modules()]


@pytest.mark.parametrize("child", ["module", "_orig_mod", "net"])
def test_an_average_of_a_model_whose_only_child_is_called_as_those_of_wrappers_are(child: str) -> None:
    class Wrap(nn.Module):
        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            setattr(self, child, net)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return getattr(self, child)(x)

    made = two_heads()
    problem = Problem(Wrap(made.model), made.tasks, made.train)
    fit(problem, SoftThreshold(0.2), steps=4, callbacks=[EMA(0.9)], progress=False)
    with Pruning(problem, GradualMagnitude(0.2), steps=STEPS) as pruning:
        averages = [AveragedModel(problem.model), copy.deepcopy(problem.model)]
        averages += [dict(copy.deepcopy(problem.model).named_parameters())] if child != "_orig_mod" else []
        for average in averages:
            pruning.follow(average)
        optimizer = pruning.attach(adamw(pruning.groups()))
        for x, targets in loop(pruning, optimizer):
            pruning.loss(problem.model(x), targets).backward()
    own = prunable(problem.model)
    for average in averages[:2]:
        for (name, weight), other in zip(own.items(), prunable(average).values(), strict=True):
            assert ((other != 0) <= (weight != 0)).all(), name


def test_what_follows_must_be_a_copy() -> None:
    problem = two_heads()
    with Pruning(problem, SoftThreshold(0.2), steps=4) as pruning:
        with pytest.raises(ValueError, match=r"follow: Linear is no copy of the model; they differ in"):
            pruning.follow(nn.Linear(2, 2))
        with pytest.raises(ValueError, match="that is the model itself"):
            pruning.follow(problem.model)
        pruning.leave(early=True)


def test_each_task_with_its_own_input_computes_effective_weights_once() -> None:
    computed: list[str] = []

    class Counted(SoftThreshold):
        def start(self, problem: Problem, steps: int) -> None:
            super().start(problem, steps)
            shrinkage = {name: Shrinkage(level, True, "garrote") for name, level in self._level.items()}

            class Effect:
                def __init__(self, name: str) -> None:
                    self.name, self.again = name, shrinkage[name].again

                def __call__(self, weight: Tensor) -> Tensor:
                    computed.append(self.name)
                    return shrinkage[self.name](weight)

            attach(problem.model, {name: Effect(name) for name in shrinkage})

    class Apart(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = two_heads().model

        def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
            return {task: self.inner(value)[task] for task, value in x.items()}

    data = [(dict.fromkeys(t, x), t) for x, t in batches()]
    one, two = (Problem(Apart(), tasks(), data) for _ in range(2))
    fit(one, SoftThreshold(0.2), steps=STEPS, optimizer=adamw, schedule=lambda progress: 1.0)
    own_loop(two, Counted(0.2), steps=STEPS)
    assert equal(weights(one), weights(two))
    frozen = round(0.8 * STEPS)  # the trunk runs once for each of two tasks
    assert len(computed) == frozen * len(prunable(two.model))
