"""What every method shares: a teacher, an aggregator, fresh BatchNorm statistics, floors."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F
from torchjd.aggregation import PCGrad, Sum, UPGrad
from torchmetrics import MeanAbsoluteError, Metric

from problems import batches, equal, two_heads, weights
from secateur import Distillation, GradualMagnitude, SoftThreshold, UncertaintyWeighting, evaluate, fit
from secateur.aggregation import aggregated
from secateur.components import components
from secateur.density import density
from secateur.distillation import mismatch
from secateur.objective import Objective
from secateur.problem import Problem, Task
from secateur.recalibration import recalibrate
from secateur.sparsifier import Sparsifier
from secateur.weighting import Weighting

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
        Objective(problem, None, Sparsifier(), Weighting(), fabric, aggregator=Sum())  # type: ignore[arg-type]


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


# --- floors


def measured(seed: int = 0) -> Problem:
    problem = two_heads(seed)
    made = {
        "colour": Task(F.cross_entropy, {"error": Error()}),
        "shade": Task(F.l1_loss, {"mae": MeanAbsoluteError()}),
    }
    return Problem(problem.model, made, problem.train, problem.val, problem.test)


class Error(Metric):
    """Mean cross-entropy."""

    higher_is_better = False
    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0), "sum")
        self.add_state("count", torch.tensor(0), "sum")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        self.total = self.total + F.cross_entropy(prediction, target)
        self.count = self.count + 1

    def compute(self) -> Tensor:
        return self.total / self.count


def test_floors_back_off_until_no_task_loses_too_much() -> None:
    dense, problem = measured(), measured()
    fit(dense, steps=60)
    reference = evaluate(dense, "val")
    history = fit(
        problem, GradualMagnitude(0.02), steps=60, floors={"shade": 0.10}, reference=reference, tries=4
    )
    first, last = history.attempts[0], history.attempts[-1]
    assert first.density == 0.02
    assert first.stopped_by == ("shade",)
    assert first.lost["shade"] > 0.10
    assert last.density > 0.02
    good = [a.density for a in history.attempts if not a.stopped_by]
    assert good
    found = density(problem.model, components(problem)).overall
    assert found == pytest.approx(min(good), abs=0.0005)
    now = evaluate(problem, "val")
    assert now["shade"]["mae"] <= 1.10 * reference["shade"]["mae"]


def test_floors_that_hold_cost_one_training(tmp_path: Path) -> None:
    plain, problem = measured(), measured()
    fit(plain, GradualMagnitude(0.5), steps=20)
    history = fit(
        problem, GradualMagnitude(0.5), steps=20, floors={"shade": 0.9}, reference=evaluate(plain, "val")
    )
    assert len(history.attempts) == 1
    assert history.attempts[0].stopped_by == ()
    assert equal(weights(plain), weights(problem))


def test_floors_nobody_can_keep_end_dense() -> None:
    dense, problem = measured(), measured()
    fit(dense, steps=10)
    better = {t: {m: v / 100 for m, v in found.items()} for t, found in evaluate(dense, "val").items()}
    history = fit(problem, GradualMagnitude(0.1), steps=10, floors={"colour": 0.0}, reference=better, tries=2)
    assert [a.stopped_by for a in history.attempts] == [("colour",), ("colour",)]
    assert equal(weights(dense), weights(problem))


def test_floors_train_their_own_reference_and_resume(tmp_path: Path) -> None:
    straight, stopped = measured(), measured()
    one = fit(straight, GradualMagnitude(0.05), steps=20, floors={"shade": 0.01}, tries=3)
    again = fit(
        stopped,
        GradualMagnitude(0.05),
        steps=20,
        floors={"shade": 0.01},
        tries=3,
        checkpoint=tmp_path / "c.pt",
    )
    assert [a.lost for a in one.attempts] == [a.lost for a in again.attempts]
    assert equal(weights(straight), weights(stopped))
    assert {p.name for p in tmp_path.iterdir()} >= {"c-dense.pt", "c-try0.pt"}
    resumed = measured()
    fit(
        resumed,
        GradualMagnitude(0.05),
        steps=20,
        floors={"shade": 0.01},
        tries=3,
        checkpoint=tmp_path / "c.pt",
    )
    assert equal(weights(straight), weights(resumed))


@pytest.mark.parametrize(
    ("floors", "method", "said"),
    [
        ({"smell": 0.1}, GradualMagnitude(0.1), r"floors names \['smell'\]; the problem's tasks are"),
        ({}, GradualMagnitude(0.1), "floors names no task"),
        ({"shade": 1.5}, GradualMagnitude(0.1), "lies in"),
        ({"shade": 0.1}, GradualMagnitude(1.0), "a density below 1 to back off from"),
        ({"shade": 0.1}, None, "a density below 1 to back off from; Sparsifier has None"),
    ],
)
def test_unusable_floors(floors: dict[str, float], method: GradualMagnitude | None, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        fit(measured(), method, steps=2, floors=floors)


def test_floors_need_metrics_and_validation_data() -> None:
    with pytest.raises(ValueError, match="which has no metric"):
        fit(two_heads(), GradualMagnitude(0.1), steps=2, floors={"shade": 0.1})
    problem = measured()
    blind = Problem(deepcopy(problem.model), problem.tasks, problem.train)
    with pytest.raises(ValueError, match="the problem has none"):
        fit(blind, GradualMagnitude(0.1), steps=2, floors={"shade": 0.1})
