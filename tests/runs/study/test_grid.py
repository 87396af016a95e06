"""Which runs a comparison has, and what is refused before the first one trains."""

from __future__ import annotations

from pathlib import Path

import pytest

from secateur.runs.study import grid

SMALL = ["--model.width", "0.0625", "--steps", "2"]

NONE_LEFT = "none_left.yaml"


def test_methods_densities_seeds() -> None:
    cells = grid(["dense", "magnitude", "adapmtl"], SMALL, densities=[0.2, 0.1], seeds=2)
    assert [cell.name for cell in cells] == [
        f"{recipe}-seg+normal+depth-s{seed}"
        for seeds, recipes in (
            ((0, 1), ("dense",)),
            ((0,), ("magnitude-d0.2", "magnitude-d0.1", "adapmtl-d0.2", "adapmtl-d0.1")),
            ((1,), ("magnitude-d0.2", "magnitude-d0.1", "adapmtl-d0.2", "adapmtl-d0.1")),
        )
        for seed in seeds
        for recipe in recipes
    ]
    assert {cell.config["method"].get("density") for cell in cells} == {None, 0.2, 0.1}
    assert {cell.config["seed"] for cell in cells} == {0, 1}
    assert all(cell.config["model"]["width"] == 0.0625 for cell in cells)


def test_a_dense_reference_is_added() -> None:
    assert [cell.recipe for cell in grid(["magnitude"], SMALL)] == ["dense", "magnitude"]
    assert [cell.recipe for cell in grid(["magnitude", "dense_equal_weights"], SMALL)] == [
        "dense_equal_weights",
        "magnitude",
    ]


def test_every_combination_of_tasks() -> None:
    cells = grid(["magnitude"], [*SMALL, "--data.tasks=[seg, depth]"], combinations=True)
    assert [(cell.recipe, cell.tasks) for cell in cells] == [
        (recipe, tasks)
        for recipe in ("dense", "magnitude")
        for tasks in (("seg",), ("depth",), ("seg", "depth"))
    ]
    assert cells[0].config["data"]["tasks"] == ["seg"]


def test_dense_networks_for_each_task_alone() -> None:
    cells = grid(["magnitude"], SMALL, single=True)
    assert [cell.tasks for cell in cells if cell.dense] == [
        ("seg", "normal", "depth"),
        ("seg",),
        ("normal",),
        ("depth",),
    ]
    assert [cell.tasks for cell in cells if not cell.dense] == [("seg", "normal", "depth")]


def test_equal_steps_are_shared_out_among_rounds() -> None:
    cells = grid(["imp", "magnitude"], ["--model.width", "0.0625", "--steps", "8"], equal_steps=True)
    found = {cell.name: cell.config["steps"] for cell in cells}
    assert found == {
        "dense-seg+normal+depth-s0": 8,
        "imp-equal-seg+normal+depth-s0": 2,
        "magnitude-seg+normal+depth-s0": 8,
    }


def test_a_recipe_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("method: {name: GradualMagnitude, every: 3}\n", encoding="utf-8")
    cell = grid([str(path)], SMALL, densities=[0.3])[-1]
    assert cell.name == "mine-d0.3-seg+normal+depth-s0"
    assert cell.config["method"]["every"] == 3


@pytest.mark.parametrize(
    ("recipes", "options", "settings", "said"),
    [
        (["magnitude"], [*SMALL, "--seed", "3"], {}, "--seed differs from run to run"),
        (["magnitude"], [*SMALL, "--method.density=0.3"], {}, "--method.density differs"),
        (["magnitude"], SMALL, {"seeds": 0}, "--seeds is 0"),
        (["magnitudes"], SMALL, {}, "No recipe 'magnitudes'"),
        (["magnitude"], ["--steeps", "3"], {}, "Recipe 'magnitude' cannot be run with --steeps 3"),
        (["magnitude", "adapmtl_paper"], [], {}, "dense and adapmtl_paper differ in steps"),
        (["magnitude", "less_is_more_paper"], SMALL, {}, "differ in model"),
        (["magnitude"], SMALL, {"densities": [0.5, 0.0]}, "magnitude cannot be trained so: density is 0.0"),
        ([NONE_LEFT], SMALL, {"densities": [0.5]}, "none_left.yaml cannot be trained so: .*at_least"),
    ],
)
def test_refused_before_anything_trains(
    recipes: list[str],
    options: list[str],
    settings: dict,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(NONE_LEFT).write_text("method: {name: GradualMagnitude, at_least: -1}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=said):
        grid(recipes, options, **settings)


def test_tasks_are_named_by_any_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "odd_data.py").write_text("def data(tasks: tuple[str, ...] = ('2012', 'a, b', 'on')): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    cells = grid(["dense"], ["--data", "odd_data.data"], combinations=True)
    assert [cell.tasks for cell in cells][:3] == [("2012",), ("a, b",), ("on",)]
    assert all(tuple(cell.config["data"]["tasks"]) == cell.tasks for cell in cells)
