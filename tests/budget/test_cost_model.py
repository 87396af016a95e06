"""What is predicted is what is measured, whatever the layers are; tables that are damaged or cannot be kept do not matter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from problems import two_heads
from secateur import Budget, Problem, Task, prune
from secateur.budget import BudgetError, latency, prune_family, record_of, rounds
from secateur.budget.choose import choose, smallest
from secateur.budget.cost_model import CostModel
from secateur.budget.latency import Latency
from secateur.budget.reach import check_reach
from secateur.deployment.bench import LayerTime
from secateur.shrinking import problem_groups

QUICK: dict[str, Any] = {"batches": 2, "progress": False, "steps": 0, "repair": 0}


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 64, batch_first=True, dropout=0.0)
        self.encoder, self.out = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(16, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"a": self.out(self.encoder(x).mean(1))}


class Tied(nn.Module):
    """Two convolutions with one weight, and groups that are coarse beside channels that are fine."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.one, self.two = (nn.Conv2d(i, 16, 3, padding=1) for i in (16, 16, 16))
        self.two.weight = self.one.weight
        self.norm, self.out = nn.GroupNorm(4, 16), nn.Conv2d(16, 1, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"a": self.out(self.two(self.one(self.first(x).relu()).relu()).relu())}


class Coarse(Tied):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"a": self.out(self.one(self.norm(self.first(x)).relu()).relu())}


@pytest.mark.parametrize(
    ("made", "shape", "share"),
    [(Encoder, (2, 5, 16), 0.7), (Tied, (2, 16, 4, 4), 0.5), (Coarse, (2, 16, 4, 4), 0.5)],
)
def test_multiply_accumulates_are_predicted_exactly(made: type[nn.Module], shape: Any, share: float) -> None:
    torch.manual_seed(0)
    xs = [torch.randn(shape) for _ in range(2)]
    model = made()
    problem = Problem(model, {"a": Task(mse_loss)}, [(x, {"a": model(x)["a"].detach() + 1}) for x in xs])
    record = record_of(prune(problem, Budget(macs=share), **QUICK))
    assert record is not None
    assert record.predicted == record.first == record.costs
    assert 0.9 * record.limits["macs"] < record.costs["macs"] <= record.limits["macs"]


def test_channels_that_are_dead_already_are_known() -> None:
    problem = two_heads()
    with torch.no_grad():
        problem.model.trunk[4].weight[:, :6] = 0
    record = record_of(prune(problem, Budget(macs=0.5), **QUICK))
    assert record is not None
    assert record.predicted["macs"] == record.first["macs"]


def test_what_cannot_be_had_is_said_before_anything_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("it was trained")

    monkeypatch.setattr(rounds, "fit", never)
    long = {**QUICK, "steps": 8}
    with pytest.raises(BudgetError, match="smallest network"):
        prune(two_heads(), Budget(macs=10), **long)
    with pytest.raises(BudgetError, match="smallest network"):
        prune_family(two_heads(), [Budget(macs=0.5), Budget(macs=10)], **long)
    with pytest.raises(ValueError, match=r"0.6x macs is looser than 0.3x macs"):
        prune_family(two_heads(), [Budget(macs=0.3), Budget(macs=0.6)], **long)


def test_networks_that_were_finished_are_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = rounds.made_small
    made: list[nn.Module] = []

    def once(*given: Any, **named: Any) -> nn.Module:
        if made:
            raise BudgetError("the second cannot be had")
        made.append(whole(*given, **named))
        return made[0]

    monkeypatch.setattr(rounds, "made_small", once)
    with pytest.raises(BudgetError) as caught:
        prune_family(two_heads(), [Budget(macs=0.6), Budget(macs=0.4)], **QUICK)
    assert list(caught.value.networks) == made


@pytest.mark.parametrize(
    "held", ["[]", '{"step": []}', '{"step": [5]}', '{"KEY": [1.0]}', '{"KEY": [NaN, 1, 1, 1]}']
)
def test_a_damaged_table_is_measured_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: str) -> None:
    monkeypatch.setattr(
        latency, "layer_ms", lambda single, *_: LayerTime(float(single.inputs * single.outputs), True)
    )
    layers = _layers()
    fresh = Latency("onnxruntime", cache=tmp_path)
    expected, step = fresh.coefficients(layers), fresh.step()
    key = next(key for key in json.loads(fresh.file.read_text()) if key != "step")
    fresh.file.write_text(held.replace('"KEY"', json.dumps(key)))
    again = Latency("onnxruntime", cache=tmp_path)
    assert torch.equal(again.coefficients(layers), expected)
    assert again.step() == step


def test_a_table_that_cannot_be_kept_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        latency, "layer_ms", lambda single, *_: LayerTime(float(single.inputs * single.outputs), True)
    )
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="cannot be kept"):
        found = Latency("onnxruntime", cache=tmp_path / "file").coefficients(_layers())
    assert bool(found.any())


def _layers() -> Any:
    from secateur.budget.layers import layers_of

    return layers_of(two_heads().model, torch.zeros(1, 3, 8, 8))


def test_what_is_padded_anyway_saves_no_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an engine that computes outputs in sixteens, and inputs too where they are more than sixteen."""

    def ms(single: Any, *_: object) -> LayerTime:
        inputs = latency.padded(single.inputs, 16) if single.inputs > 16 else single.inputs
        return LayerTime(float(inputs * latency.padded(single.outputs, 16)), True)

    monkeypatch.setattr(latency, "layer_ms", ms)
    model = nn.Sequential(
        nn.Conv2d(3, 40, 3), nn.ReLU(), nn.Conv2d(40, 12, 3), nn.ReLU(), nn.Conv2d(12, 2, 3)
    )
    x = torch.zeros(1, 3, 16, 16)
    problem = Problem(_Named(model), {"a": Task(mse_loss)}, [(x, {"a": torch.zeros(1, 2, 10, 10)})])
    groups, table = problem_groups(problem), Latency("onnxruntime", cache=tmp_path)
    costs = CostModel(problem.model, x, groups, Budget(ms="0.5x"), {"ms": 100.0}, table)
    everything = torch.ones(groups.count, dtype=torch.bool)
    dense = 3 * 48 + 48 * 16 + 12 * 16
    for kept, expected in ((16, 3 * 16 + 16 * 16 + 12 * 16), (20, 3 * 32 + 32 * 16 + 12 * 16)):
        alive = everything.clone()
        alive[groups.index["0.2.weight"][kept:]] = False  # inputs of the second convolution
        assert costs(alive)["ms"] == pytest.approx(100 * expected / dense)
    worth = (torch.arange(groups.count, dtype=torch.float64) + 1).clamp(max=40)
    left = choose(groups, everything, worth, costs, {"ms": 60.0})
    widths = costs.widths(left)[1].tolist()
    assert costs(left)["ms"] <= 60.0
    assert widths == [16.0, 12.0, 2.0]  # nothing died that saves nothing


class _Named(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.add_module("0", inner)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"a": self.get_submodule("0")(x)}


def test_weights_that_no_cache_holds_come_from_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each megabyte beyond sixteen takes a millisecond; a convolution's row was timed as the second of two alike, and holds some of it."""
    asked: list[Any] = []

    def weights_ms(megabytes: Any, *_: object) -> list[LayerTime]:
        asked.append(megabytes)
        return [LayerTime(0.5 + 0.01 * count + max(0.0, count - 16.0), True) for count in megabytes]

    monkeypatch.setattr(latency, "weights_ms", weights_ms)
    monkeypatch.setattr(latency, "layer_ms", lambda single, *_: LayerTime(1.0, True))
    model = _Named(nn.Sequential(*(nn.Conv2d(64, 64, 3, padding=1, bias=False) for _ in range(4))))
    x = torch.zeros(1, 64, 1, 1)
    problem = Problem(model, {"a": Task(mse_loss)}, [(x, {"a": torch.zeros(1, 64, 1, 1)})])
    groups = problem_groups(problem)
    everything = torch.ones(groups.count, dtype=torch.bool)
    known = problem.model, x, groups, Budget(ms="0.5x"), {"ms": 24.0}
    table = Latency("onnxruntime", cache=tmp_path)
    costs = CostModel(*known, table, weight_bytes=256)  # nine megabytes a layer
    held = 4 * (18 - 16)
    assert costs.factor["ms"] == pytest.approx(24.0 / (4 + 36 - 16 - held))
    alive = everything.clone()
    alive[groups.rows["0.1.weight"][32:]] = (
        False  # the second's outputs, half of the third's weights too: 27 megabytes are left
    )
    assert costs(alive)["ms"] == pytest.approx(costs.factor["ms"] * (4 + 27 - 16 - held / 2))
    channel = 2 * 64 * 9 * 256 / 2**20  # megabytes, of an output and an input
    assert costs.savings(everything, "ms")[0] == pytest.approx(costs.factor["ms"] * channel)
    faster = CostModel(*known[:-1], {"ms": 12.0}, Latency("onnxruntime", cache=tmp_path), weight_bytes=256)
    faster.begin(smallest(groups, everything, torch.ones(groups.count)), {"ms": 4.0})  # as the layers say
    assert faster(alive)["ms"] == pytest.approx(4 + (27 - 16 - held / 2) * 2 / 3), (
        "layers are as timed, memory is faster now"
    )
    Latency("onnxruntime", cache=tmp_path).streaming()
    assert len(asked) == 1, "it is kept"
    fewer = CostModel(*known, Latency("onnxruntime", cache=tmp_path))
    assert fewer.factor["ms"] == pytest.approx(24.0 / 4)


def test_what_the_smallest_network_takes_is_no_layers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        latency, "layer_ms", lambda single, *_: LayerTime(float(single.inputs * single.outputs), True)
    )
    problem, x = two_heads(), torch.zeros(1, 3, 8, 8)
    groups, table = problem_groups(problem), Latency("onnxruntime", cache=tmp_path)
    everything = torch.ones(groups.count, dtype=torch.bool)
    faster, costs = (
        CostModel(problem.model, x, groups, Budget(ms="0.5x"), {"ms": 10.0}, table) for _ in range(2)
    )
    least = smallest(groups, everything, torch.ones(groups.count), costs.step)
    predicted = costs(least)["ms"]
    faster.begin(least, {"ms": predicted / 2})
    assert faster(least)["ms"] == pytest.approx(predicted), "no time is less than none"
    check_reach(problem.model, x, None, groups, everything, costs, lambda _: {"ms": 4.0}, [])
    assert costs(least)["ms"] == pytest.approx(4.0)
    assert costs(everything)["ms"] == pytest.approx(10.0)
    almost = everything.clone()
    almost[groups.rows["trunk.0.weight"][:1]] = False
    costs.correct(almost, {"ms": 9.9})  # the noise of the dense network's time would be most of the slope
    assert costs(almost)["ms"] == pytest.approx(9.9)
    assert costs(least)["ms"] == pytest.approx(4.0)
