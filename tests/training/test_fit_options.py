"""What every method shares: a teacher, an aggregator, fresh BatchNorm statistics, floors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torchjd.aggregation import PCGrad, Sum, UPGrad

from problems import batches, equal, two_heads, weights
from secateur import Distillation, GradualMagnitude, SoftThreshold, UncertaintyWeighting, fit
from secateur.problem.components import components
from secateur.problem.problem import Problem
from secateur.pruning.density import density
from secateur.training.aggregation import aggregated
from secateur.training.backward import Backward
from secateur.training.distillation import mismatch
from secateur.training.pruning import Pruning
from secateur.training.recalibration import recalibrate

# --- distillation


def test_mismatch_by_hand() -> None:
    teacher = torch.tensor([[0.0, 2.0]])
    assert float(mismatch(teacher, teacher)) == 0
    assert float(mismatch(torch.ones(1, 2), teacher)) == pytest.approx(1.0), "who knows only the mean is at 1"
    assert float(mismatch(torch.tensor([[2.0, 2.0]]), teacher)) == pytest.approx(2.0)
    assert float(mismatch(10 * torch.ones(1, 2), 10 * teacher)) == pytest.approx(1.0), "units do not matter"
    with pytest.raises(ValueError, match=r"the student predicts \(1, 2\), the teacher \(2, 2\)"):
        mismatch(torch.ones(1, 2), torch.ones(2, 2))


def test_a_student_follows_its_teacher() -> None:
    teacher, alone, taught = two_heads(seed=5), two_heads(), two_heads()
    fit(teacher, steps=60)
    before = weights(teacher)
    x = torch.cat([x for x, _ in batches()])

    def distance(problem: Problem) -> float:
        with torch.no_grad():
            mine, other = problem.model.eval()(x), teacher.model.eval()(x)
        return sum(float(mismatch(mine[t], other[t])) for t in mine)

    fit(alone, GradualMagnitude(0.3), steps=60)
    fit(taught, GradualMagnitude(0.3), steps=60, distillation=Distillation(teacher.model, 3.0))
    assert distance(taught) < 0.8 * distance(alone)
    assert equal(before, weights(teacher))
    assert density(taught.model, components(taught)).overall == pytest.approx(0.3, abs=0.0005)


def test_weight_zero_is_no_teacher_to_the_bit() -> None:
    plain, taught = two_heads(), two_heads()
    fit(plain, steps=10)
    fit(taught, steps=10, distillation=Distillation(two_heads(seed=1).model, 0.0))
    assert equal(weights(plain), weights(taught))


def test_unusable_teachers() -> None:
    with pytest.raises(ValueError, match=r"tasks names \['smell'\]"):
        fit(two_heads(), steps=1, distillation=Distillation(two_heads().model, tasks={"smell": 1.0}))
    with pytest.raises(ValueError, match="weight of every task is -1"):
        fit(two_heads(), steps=1, distillation=Distillation(two_heads().model, -1.0))

    class Blind(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"colour": x}

    with pytest.raises(ValueError, match=r"teacher predicts \['colour'\], not \['shade'\]"):
        fit(two_heads(), steps=1, distillation=Distillation(Blind()))


def test_a_constant_prediction_of_the_teacher_teaches_nothing() -> None:
    """Such as the one value for the one sample of a last batch: over a variance of zero any difference would be without end."""
    for value in (0.0, 1e-3, 3.0, -1e4):
        student = torch.full((1, 1), value + 0.5, requires_grad=True)
        loss = mismatch(student, torch.full((1, 1), value))
        loss.backward()
        assert float(loss.detach()) == 0.0
        assert float(student.grad) == 0.0
    assert float(
        mismatch(torch.full((2, 1), 1e4 + 0.5), torch.tensor([[1e4], [1e4 + 1.0]]))
    ) == pytest.approx(1.0)


def test_a_teacher_that_never_varies_and_one_that_is_the_student_are_refused() -> None:
    taught, constant = two_heads(), two_heads()
    nn.init.zeros_(constant.model.colour.weight)
    nn.init.constant_(constant.model.colour.bias, 2.0)
    with pytest.raises(
        ValueError, match=r"same value throughout .* for \['colour'\].*tasks=\{'colour': 0.0\}"
    ):
        fit(taught, steps=1, distillation=Distillation(constant.model))
    fit(taught, steps=1, distillation=Distillation(constant.model, tasks={"colour": 0.0}))
    before = weights(taught)
    for own in (taught.model, nn.Sequential(taught.model)):
        with pytest.raises(ValueError, match=r"12 parameters of the teacher are the model's own .*deepcopy"):
            fit(taught, steps=1, distillation=Distillation(own))
    assert equal(before, weights(taught))
    assert taught.model.training


# --- aggregators


def test_a_conflict_is_left_to_the_aggregator_and_the_rest_to_its_task() -> None:
    shared, own = torch.tensor([1.0, 1.0], requires_grad=True), torch.tensor([1.0], requires_grad=True)
    unused = torch.tensor([1.0], requires_grad=True)
    losses = [shared[0] - 2 * shared[1] + 5 * own[0], shared.sum()]
    seen: list[Tensor] = []

    def first(matrix: Tensor) -> Tensor:
        seen.append(matrix)
        return matrix[0]

    found = aggregated(losses, [own, shared, unused], first)
    assert torch.equal(seen[0], torch.tensor([[1.0, -2.0], [1.0, 1.0]]))
    assert torch.equal(found[0], torch.tensor([5.0]))
    assert torch.equal(found[1], torch.tensor([1.0, -2.0]))
    assert found[2] is None
    with pytest.raises(ValueError, match="one value for each column"):
        aggregated(losses, [shared], lambda matrix: matrix)


@pytest.mark.parametrize("weighting", [None, UncertaintyWeighting])
def test_the_sum_is_plain_training(weighting: type | None) -> None:
    plain, summed = two_heads(dtype=torch.float64), two_heads(dtype=torch.float64)
    for problem, aggregator in ((plain, None), (summed, Sum())):
        made = weighting() if weighting else None
        fit(problem, SoftThreshold(0.3), made, steps=12, aggregator=aggregator)
    one, two = weights(plain), weights(summed)
    assert all(torch.allclose(one[n], two[n], rtol=1e-6, atol=1e-9) for n in one)


def test_torchjd_changes_the_shared_weights() -> None:
    plain, projected = two_heads(), two_heads()
    fit(plain, steps=5)
    fit(projected, steps=5, aggregator=UPGrad())
    assert not torch.equal(weights(plain)["trunk.0.weight"], weights(projected)["trunk.0.weight"])


def test_an_aggregator_meets_partial_labels_and_every_method() -> None:
    problem = two_heads(partial=True)
    fit(problem, GradualMagnitude(0.2), steps=20, aggregator=PCGrad())
    assert density(problem.model, components(problem)).overall == pytest.approx(0.2, abs=0.0005)


def test_an_aggregator_refuses_scaled_gradients() -> None:
    class Scaled:
        scaler = object()

    fabric = Fabric(accelerator="cpu")
    fabric.strategy.precision = Scaled()
    problem = two_heads()
    with pytest.raises(ValueError, match="use bf16-mixed"):
        Backward(Pruning(problem, steps=1), problem.model, fabric, Sum())  # type: ignore[arg-type]


@pytest.mark.parametrize("precision", ["bf16-true", "16-true"])
def test_weights_in_half_precision_by_the_fabric_are_refused_before_training(precision: str) -> None:
    problem = two_heads()
    before = weights(problem)
    fabric = Fabric(accelerator="cpu", precision=precision)
    with pytest.raises(ValueError, match=f"precision is {precision}.*use {precision[:-5]}-mixed"):
        fit(problem, SoftThreshold(0.5), steps=2, fabric=fabric)
    assert equal(before, weights(problem))


# --- BatchNorm


def test_statistics_are_the_mean_over_the_batches() -> None:
    problem = two_heads()
    fit(problem, steps=5)
    before = weights(problem)
    recalibrate(problem, 3)
    norm = problem.model.trunk[1]
    with torch.no_grad():
        means = [problem.model.trunk[0](x).mean((0, 2, 3)) for x, _ in problem.train[:3]]
    assert torch.allclose(norm.running_mean, torch.stack(means).mean(0), atol=1e-6)
    assert norm.momentum == 0.1
    assert all(
        torch.equal(v, before[n])
        for n, v in weights(problem).items()
        if "running" not in n and "num" not in n
    )


def test_fit_recalibrates_last_and_leaves_the_random_state(tmp_path: Path) -> None:
    plain, fresh = two_heads(), two_heads()
    fit(plain, SoftThreshold(0.2), steps=10)
    state = torch.get_rng_state()
    fit(fresh, SoftThreshold(0.2), steps=10, recalibrate=6)
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(weights(plain)["trunk.1.running_mean"], weights(fresh)["trunk.1.running_mean"])
    assert torch.equal(weights(plain)["trunk.0.weight"], weights(fresh)["trunk.0.weight"])
    with pytest.raises(ValueError, match="recalibrate is 0"):
        fit(two_heads(), steps=1, recalibrate=0)
