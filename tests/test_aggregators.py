"""Aggregators by name: made, refused with a reason, and resumed with what they remember."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torchjd.aggregation
import yaml
from safetensors.torch import load_file
from torch import Tensor, nn
from torchjd.aggregation import PCD, ExcessMTL, GradVac, UPGrad

from problems import equal, two_heads, weights
from secateur import GradualMagnitude, fit
from secateur.aggregators import Memory, aggregator
from secateur.cli import main
from secateur.config import recipe_path
from secateur.floors import Attempt
from secateur.resumption import Resumption

# What each needs that cannot be without, and packages beside TorchJD's own.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "CAGrad": {"c": 0.5},
    "Constant": {"weights": [1.0, 2.0]},
    "FairGrad": {"alpha": 0.5},
    "Krum": {"n_byzantine": 0},
    "NashMTL": {"n_tasks": 2},
    "TrimmedMean": {"trim_number": 0},
}
EXTRAS = {"CAGrad": ("cvxpy", "clarabel"), "NashMTL": ("cvxpy", "ecos")}
BASES = {"Aggregator", "WeightedAggregator", "GramianWeightedAggregator"}
EXPORTED = sorted(name for name in torchjd.aggregation.__all__ if name not in BASES)
AGGREGATORS = [
    n for n in EXPORTED if issubclass(getattr(torchjd.aggregation, n), torchjd.aggregation.Aggregator)
]
OTHERS = [name for name in EXPORTED if name not in AGGREGATORS]


def test_the_list_is_the_installed_one() -> None:
    assert len(AGGREGATORS) >= 20
    assert set(ARGUMENTS) <= set(AGGREGATORS)
    assert "UPGradWeighting" in OTHERS


@pytest.mark.parametrize("name", AGGREGATORS)
def test_every_aggregator_trains_by_its_name(name: str) -> None:
    settings = ARGUMENTS.get(name, {})
    if absent := [package for package in EXTRAS.get(name, ()) if importlib.util.find_spec(package) is None]:
        with pytest.raises(ImportError, match=rf"aggregator {name} needs more than TorchJD.*pip install"):
            aggregator({"name": name, **settings})
        pytest.skip(f"{name} needs {', '.join(absent)}, which is not installed; that is said")
    made = aggregator({"name": name, **settings} if settings else name)
    problem = two_heads()
    before = weights(problem)
    if name == "Krum":  # a majority of others: no use for two tasks, and it says so
        with pytest.raises(ValueError, match="at least 3 rows"):
            fit(problem, steps=3, aggregator=made)
        assert made is not None
        assert made(torch.eye(3)).shape == (3,)
        return
    fit(problem, steps=3, aggregator=made)
    after = weights(problem)
    assert not torch.equal(before["trunk.0.weight"], after["trunk.0.weight"])
    assert all(value.isfinite().all() for value in after.values())


@pytest.mark.parametrize("name", [n for n in AGGREGATORS if n in ARGUMENTS])
def test_a_missing_argument_is_named(name: str) -> None:
    (missing,) = ARGUMENTS[name]
    with pytest.raises(ValueError, match=rf"aggregator {name}: missing a required argument: '{missing}'"):
        aggregator(name)


def test_the_list_of_arguments_is_complete() -> None:
    for name in AGGREGATORS:
        parameters = inspect.signature(getattr(torchjd.aggregation, name)).parameters.values()
        needed = [p.name for p in parameters if p.default is p.empty]
        assert needed == list(ARGUMENTS.get(name, {})), name


@pytest.mark.parametrize("name", OTHERS)
def test_weightings_of_gramians_are_no_aggregators(name: str) -> None:
    with pytest.raises(ValueError, match="it is no aggregator"):
        aggregator(name)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("Magic", "torchjd.aggregation has no such class"),
        ("Aggregator", "the base of aggregators"),
        ({"c": 0.5}, "without a name"),
        ({"name": "UPGrad", "c": 0.5}, "aggregator UPGrad: got an unexpected keyword argument 'c'"),
        ({"name": "Krum", "n_byzantine": -1}, "aggregator Krum refuses {'n_byzantine': -1}"),
        ("torch.nn.Linear", "aggregator torch.nn.Linear: missing a required argument"),
    ],
)
def test_unusable_names_and_settings(asked: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        aggregator(asked)


def test_a_list_becomes_a_tensor() -> None:
    made = aggregator({"name": "Constant", "weights": [1.0, 3.0]})
    assert made is not None
    assert torch.equal(made(torch.eye(2)), torch.tensor([1.0, 3.0]))


RUN = [
    "--model.width", "0.05", "--size", "16x16", "--batch", "2", "--steps", "2", "--device", "cpu", "--data.tasks=[depth, edge]",
    "--data.train_count", "4", "--data.val_count", "2", "--data.test_count", "2",
]  # fmt: skip


def test_settings_on_the_command_line_and_in_a_recipe(tmp_path: Path) -> None:
    asked = {"name": "FairGrad", "alpha": 0.5}
    assert main(["train", "dense", *RUN, "--aggregator", str(asked), "--out", str(tmp_path / "a")]) == 0
    recipe = tmp_path / "mine.yaml"
    dense = recipe_path("dense").read_text(encoding="utf-8")
    recipe.write_text(dense + "aggregator: {name: FairGrad, alpha: 0.5}\n", encoding="utf-8")
    assert main(["train", str(recipe), *RUN, "--out", str(tmp_path / "b")]) == 0
    held = [yaml.safe_load((tmp_path / run / "config.yaml").read_text(encoding="utf-8")) for run in "ab"]
    assert held[0]["aggregator"] == held[1]["aggregator"] == asked
    one, two = (load_file(tmp_path / run / "model.safetensors") for run in "ab")
    assert equal(one, two)


@pytest.mark.parametrize("name", ["CAGrad", "NashMTL"])
def test_the_command_line_says_what_is_missing(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["train", "dense", *RUN, "--aggregator", name, "--out", str(tmp_path / "a")]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert f"error: aggregator {name}: missing a required argument" in said
    assert f"'{{name: {name}, setting: value}}'" in said


# --- what they remember


class Stopped(Exception):
    pass


def stopped_after(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    save = Resumption.save

    def once(self: Resumption, at: int, *rest: Any) -> None:
        save(self, at, *rest)
        if at == step:
            raise Stopped

    monkeypatch.setattr(Resumption, "save", once)


class Remembers:
    """An aggregator of one's own: the running mean of the directions."""

    def __init__(self) -> None:
        self.mean = torch.zeros(())

    def __call__(self, matrix: Tensor) -> Tensor:
        self.mean = 0.9 * self.mean + 0.1 * matrix.sum(0)
        return self.mean

    def state_dict(self) -> dict[str, Any]:
        return {"mean": self.mean}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.mean = state["mean"]


class Filtered(nn.Module):
    """The same as a module, its memory in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def reset(self) -> None:
        self.mean = torch.zeros(())

    def forward(self, matrix: Tensor) -> Tensor:
        self.mean = 0.9 * self.mean + 0.1 * matrix.sum(0)
        return self.mean


@pytest.mark.parametrize(
    "make", [GradVac, ExcessMTL, lambda: ExcessMTL(n_warmup_steps=9), PCD, UPGrad, Remembers, Filtered],
    ids=["GradVac", "ExcessMTL", "ExcessMTL, warming up", "PCD", "UPGrad", "own", "own module"],
)  # fmt: skip
def test_a_stopped_run_goes_on_with_what_the_aggregator_remembers(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight, resumed = two_heads(), two_heads()
    fit(straight, steps=12, aggregator=make())
    path = tmp_path / "c.pt"
    with monkeypatch.context() as patched:
        stopped_after(patched, 7)
        with pytest.raises(Stopped):
            fit(two_heads(), steps=12, aggregator=make(), checkpoint=path, checkpoint_every=7)
    fit(resumed, steps=12, aggregator=make(), checkpoint=path, checkpoint_every=7)
    assert equal(weights(straight), weights(resumed))


class Unsaveable:
    """Remembers what no checkpoint can hold."""

    def __init__(self) -> None:
        self.solver = object()

    def reset(self) -> None:
        self.solver = object()

    def __call__(self, matrix: Tensor) -> Tensor:
        return matrix.sum(0)


def test_what_cannot_be_saved_is_refused_before_training(tmp_path: Path) -> None:
    problem = two_heads()
    before = weights(problem)
    with pytest.raises(ValueError, match=r"Unsaveable keeps solver, of type object, .* without a checkpoint"):
        fit(problem, steps=2, aggregator=Unsaveable(), checkpoint=tmp_path / "c.pt")
    assert equal(before, weights(problem))
    fit(problem, steps=2, aggregator=Unsaveable())


@pytest.mark.parametrize(("first", "second"), [(GradVac, PCD), (GradVac, UPGrad), (UPGrad, PCD)])
def test_a_checkpoint_of_another_aggregator(first: Any, second: Any, tmp_path: Path) -> None:
    fit(two_heads(), steps=2, aggregator=first(), checkpoint=tmp_path / "c.pt")
    with pytest.raises(ValueError, match="the checkpoint is of a run with"):
        fit(two_heads(), steps=2, aggregator=second(), checkpoint=tmp_path / "c.pt")


def test_memory_moves_to_the_device_of_training() -> None:
    made = ExcessMTL()
    made(torch.randn(2, 5))
    state = Memory(made, torch.device("cpu")).state_dict()
    state["host"] = {path: [] for path in state["host"]}  # as if it had been on a GPU
    other = ExcessMTL()
    Memory(other, torch.device("meta")).load_state_dict(state)
    assert other.weighting.get_buffer("_sq_grad_sum").device.type == "meta"


def test_attempts_under_floors_share_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every attempt begins with the aggregator as it was given, so that the last one can be repeated alone."""
    problem, alone, seen = two_heads(), two_heads(), []

    def three(once: Any, problem: Any, method: Any, *_: Any) -> Any:
        initial = weights(problem)
        for _ in range(3):
            problem.model.load_state_dict(initial)
            history = once(GradualMagnitude(0.5), None)
            seen.append(weights(problem))
        history.attempts = [Attempt(0.5, {}, ())]
        return history

    monkeypatch.setattr(sys.modules["secateur.fit"], "within_floors", three)
    given = GradVac()
    fit(problem, GradualMagnitude(0.5), steps=8, aggregator=given, floors={"shade": 0.1})
    monkeypatch.undo()
    fit(alone, GradualMagnitude(0.5), steps=8, aggregator=GradVac())
    assert all(equal(one, weights(alone)) for one in seen)
    assert (
        Memory(given, torch.device("cpu")).state_dict() == Memory(GradVac(), torch.device("cpu")).state_dict()
    )
