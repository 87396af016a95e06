"""Aggregators by name: made, refused with a reason, and resumed with what they remember."""

from __future__ import annotations

import importlib.util
import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
import torchjd.aggregation
import yaml
from safetensors.torch import load_file
from torch import nn

from problems import equal, two_heads, weights
from secateur import Problem, Task, fit
from secateur.cli import main
from secateur.runs.config import recipe_path
from secateur.training.aggregators import aggregator

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
    with pytest.raises(
        ValueError, match=rf"aggregator {name} lacks {missing}; give such as '{{name: {name}, "
    ):
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
        ({"name": "UPGrad", "c": 0.5}, "aggregator UPGrad has no setting c; it has pref_vector, "),
        ({"name": "Krum", "n_byzantine": -1}, "aggregator Krum refuses {'n_byzantine': -1}"),
        ("torch.nn.Linear", "torchjd.aggregation has no such class"),
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
    assert f"error: aggregator {name} lacks " in said
    assert f"give such as '{{name: {name}, " in said


# --- what they remember


class ThreeHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.heads = nn.Linear(4, 8), nn.ModuleDict({task: nn.Linear(8, 1) for task in "abc"})

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {task: head(self.trunk(x)) for task, head in self.heads.items()}


@pytest.mark.parametrize(
    "asked", [{"name": "Constant", "weights": [1.0] * 3}, {"name": "TrimmedMean", "trim_number": 1}]
)
def test_an_aggregator_that_wants_every_task_names_those_that_a_batch_lacks(asked: Any) -> None:
    given = ["abc", "abc", "ac"]
    data = [(torch.randn(2, 4), {task: torch.randn(2, 1) for task in tasks}) for tasks in given]
    problem = Problem(ThreeHeads(), {task: Task(nn.functional.mse_loss) for task in "abc"}, data)
    said = rf"{asked['name']} does not take the gradients of \['a', 'c'\] alone .*none of \['b'\]"
    with pytest.raises(ValueError, match=said):
        fit(problem, steps=6, aggregator=aggregator(asked))
