import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MeanMetric, MeanSquaredError

from secateur.measures.evaluate import evaluate, higher_is_better
from secateur.measures.metrics import DepthError, MapError, MeanIoU, NormalAngle, PixelAccuracy
from secateur.problem.problem import Problem, Task

PREDICTIONS = {"seg": 3, "normal": 3, "depth": 1}


class Net(nn.Module):
    """Predictions at half the size, with BatchNorm and dropout in the way."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.Dropout(0.5))
        self.heads = nn.ModuleDict({task: nn.Conv2d(6, width, 1) for task, width in PREDICTIONS.items()})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = self.trunk(x)
        return {task: head(features) for task, head in self.heads.items()}


def tasks() -> dict[str, Task]:
    return {
        "seg": Task(F.cross_entropy, {"miou": MeanIoU(3), "accuracy": PixelAccuracy(3)}),
        "normal": Task(
            F.l1_loss, {"mean": NormalAngle("mean"), "within_11.25": NormalAngle("within", 11.25)}
        ),
        "depth": Task(F.l1_loss, {"abs": DepthError("abs"), "delta_1": DepthError("delta", 1)}),
    }


def batches(count: int = 4) -> list[tuple[Tensor, dict[str, Tensor]]]:
    g = torch.Generator().manual_seed(0)
    made = []
    for _ in range(count):
        targets = {
            "seg": torch.randint(0, 3, (2, 8, 8), generator=g),
            "normal": F.normalize(torch.randn(2, 3, 8, 8, generator=g), dim=1),
            "depth": torch.rand(2, 1, 8, 8, generator=g) * 5,
        }
        made.append((torch.randn(2, 3, 8, 8, generator=g), targets))
    return made


def by_hand(problem: Problem, data: list[tuple[Tensor, dict[str, Tensor]]]) -> dict[str, dict[str, float]]:
    model, found = problem.model.eval(), {}
    for task, spec in tasks().items():
        found[task] = {}
        for name, metric in spec.metrics.items():
            for x, targets in data:
                if task in targets:
                    metric.update(model(x)[task].detach(), targets[task])
            found[task][name] = float(metric.compute())
    return found


def test_equals_each_metric_by_itself() -> None:
    data = batches()
    problem = Problem(Net(), tasks(), data, val=data[:1], test=data)
    assert evaluate(problem) == by_hand(problem, data)
    assert evaluate(problem, "train") == by_hand(problem, data)
    assert evaluate(problem, "val") == by_hand(problem, data[:1])
    assert evaluate(problem, limit=2) == by_hand(problem, data[:2])


def test_batches_may_lack_tasks() -> None:
    data = batches()
    del data[0][1]["seg"], data[1][1]["normal"], data[1][1]["depth"]
    problem = Problem(Net(), tasks(), data, test=data)
    assert evaluate(problem) == by_hand(problem, data)


def test_the_model_the_metrics_and_the_random_state_are_left_alone() -> None:
    x = torch.randn(6, 3, 8, 8)
    shuffled = DataLoader(TensorDataset(x), batch_size=2, shuffle=True, collate_fn=_depth_only)
    problem = Problem(Net(), {"depth": tasks()["depth"]}, shuffled, test=shuffled)
    problem.model.heads.requires_grad_(False)
    problem.model.trunk[1].eval()
    del problem.model.heads["seg"], problem.model.heads["normal"]
    before = {k: v.clone() for k, v in problem.model.state_dict().items()}
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    first = evaluate(problem)
    assert evaluate(problem) == first  # no state is carried over
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states[1:]
    assert all(torch.equal(v, before[k]) for k, v in problem.model.state_dict().items())
    assert [m.training for m in problem.model.trunk] == [True, False, True]
    assert all(p.grad is None for p in problem.model.parameters())
    assert all(not metric.update_called for metric in problem.tasks["depth"].metrics.values())


def _depth_only(rows: list[tuple[Tensor]]) -> tuple[Tensor, dict[str, Tensor]]:
    x = torch.stack([row[0] for row in rows])
    return x, {"depth": x.abs().mean(1, keepdim=True)}


def test_an_input_for_each_task() -> None:
    class Each(nn.Module):
        def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
            return {task: value * 2 for task, value in x.items()}

    one = torch.ones(1, 1, 2, 2)
    data = [({"a": one}, {"a": one}), ({"a": one, "b": one}, {"a": 2 * one, "b": one * 4})]
    task = {name: Task(F.l1_loss, {"error": MapError()}) for name in ("a", "b")}
    assert evaluate(Problem(Each(), task, data, test=data)) == {"a": {"error": 0.5}, "b": {"error": 2.0}}


def test_nothing_valid_is_nan_and_infinity_is_too() -> None:
    x = torch.ones(1, 1, 2, 2)
    identity = Task(F.l1_loss, {"abs": DepthError("abs")})

    class Two(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"a": x, "b": x / 0}

    data = [(x, {"a": 0 * x, "b": x})]
    found = evaluate(Problem(Two(), {"a": identity, "b": identity}, data, test=data))
    assert math.isnan(found["a"]["abs"])
    assert math.isnan(found["b"]["abs"])


def test_a_task_that_predicts_nan_has_no_metrics() -> None:
    data = batches()
    data[1][0][0, 0, 0, 0] = torch.nan  # one pixel of one image
    data[2] = data[2][0], {"depth": data[2][1]["depth"]}
    problem = Problem(Net(), tasks(), data, test=data)
    with pytest.warns(
        UserWarning, match=r"'seg' \(in 1 of 3 batches\), .* 'depth' \(in 1 of 4 batches\) predicts NaN"
    ):
        found = evaluate(problem)
    assert all(math.isnan(value) for metrics in found.values() for value in metrics.values())

    heads = problem.model.get_submodule("heads")
    data[1][0].nan_to_num_()
    with torch.no_grad():
        next(heads.get_submodule("seg").parameters())[0] = torch.nan
    with pytest.warns(
        UserWarning, match=r"evaluate: 'seg' \(in 3 of 3 batches\) predicts NaN; all its metrics"
    ):
        found = evaluate(problem)
    assert {task for task, metrics in found.items() if math.isnan(next(iter(metrics.values())))} == {"seg"}


def test_errors() -> None:
    data = batches(2)
    problem = Problem(Net(), tasks(), data, test=data)
    with pytest.raises(ValueError, match=r"no val data.*val="):
        evaluate(problem, "val")
    with pytest.raises(ValueError, match="limit is 0"):
        evaluate(problem, limit=0)
    with pytest.raises(ValueError, match="split is 'dev'"):
        evaluate(problem, "dev")  # type: ignore[arg-type]
    for _, targets in data:
        del targets["depth"]
    with pytest.raises(ValueError, match=r"test batches.*no target for \['depth'\]"):
        evaluate(problem)
    assert problem.model.training


def test_a_metric_that_is_not_a_scalar_is_named() -> None:
    class PerChannel(MeanMetric):
        def update(self, prediction: Tensor, target: Tensor) -> None:
            super().update(prediction)

        def compute(self) -> Tensor:
            return super().compute().expand(2)

    data = batches(1)
    task = {"depth": Task(F.l1_loss, {"odd": PerChannel()})}
    net = Net()
    del net.heads["seg"], net.heads["normal"], data[0][1]["seg"], data[0][1]["normal"]
    with pytest.raises(ValueError, match=r"'odd' of task 'depth'.*scalar"):
        evaluate(Problem(net, task, data, test=data))


def test_higher_is_better() -> None:
    assert higher_is_better(tasks()) == {
        "seg": {"miou": True, "accuracy": True},
        "normal": {"mean": False, "within_11.25": True},
        "depth": {"abs": False, "delta_1": True},
    }
    assert higher_is_better({"t": Task(F.l1_loss, {"mse": MeanSquaredError()})}) == {"t": {"mse": False}}

    class Undecided(MeanSquaredError):
        higher_is_better = None

    with pytest.raises(ValueError, match=r"'m' of task 't' \(Undecided\) has higher_is_better = None"):
        higher_is_better({"t": Task(F.l1_loss, {"m": Undecided()})})


def test_a_task_without_metrics_has_none() -> None:
    data = batches(1)
    problem = Problem(Net(), {**tasks(), "depth": Task(F.l1_loss)}, data, test=data)
    assert evaluate(problem)["depth"] == {}


def _process(rank: int, store: str, out: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    torch.manual_seed(0)
    data = batches()[:3]
    for _, targets in data[2:]:
        del targets["seg"]  # the second process sees no seg at all
    mine = data[:2] if rank == 0 else data[2:]
    found = evaluate(Problem(Net(), tasks(), mine, test=mine))
    torch.save(found, f"{out}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="needs gloo")
def test_two_processes_equal_one(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_process, (str(tmp_path / "store"), str(tmp_path)), nprocs=2)
    torch.manual_seed(0)
    data = batches()[:3]
    del data[2][1]["seg"]
    alone = evaluate(Problem(Net(), tasks(), data, test=data))
    for rank in (0, 1):
        found = torch.load(tmp_path / f"{rank}.pt")
        for task, metrics in alone.items():
            assert found[task] == pytest.approx(metrics, rel=1e-9)
