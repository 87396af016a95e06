"""Options that are trained with several values: which runs that makes, what they are called, and what is refused."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import pytest

from secateur.runs.several import SeveralParser, add_grid_options
from secateur.runs.study import grid
from secateur.runs.study.over import folder_words
from secateur.runs.study.running import references
from secateur.runs.study.seeds import SeedsAction, seeds_of
from secateur.runs.study.sweeps import split

SMALL = ["--model.width", "0.0625", "--steps", "2", "--data.tasks=[seg]", "--data.train_count=4", "--batch=2"]


def test_options_multiply_and_what_a_recipe_lacks_is_left_out() -> None:
    cells = grid(["magnitude"], SMALL, over=["lr=1e-3,3e-3", "method.every=10,50"])
    assert [(c.recipe, dict(c.settings)) for c in cells] == [
        ("dense", {"lr": "0.001"}),
        ("dense", {"lr": "0.003"}),
        *(("magnitude", {"lr": lr, "method.every": e}) for lr in ("0.001", "0.003") for e in ("10", "50")),
    ]
    assert [c.config["lr"] for c in cells[:2]] == [0.001, 0.003]
    assert cells[-1].config["method"]["every"] == 50
    assert "--lr=3e-3" in cells[-1].arguments
    assert [c.settings for c in references(cells[-1], cells)] == [], "it looks at no dense run"


def test_the_value_that_stands_anyway_is_the_plain_run() -> None:
    """So a sweep that is added later, or left out again, trains nothing twice."""
    plain = {cell.name: cell.config for cell in grid(["magnitude"], SMALL)}
    swept = {cell.name: cell.config for cell in grid(["magnitude"], SMALL, over={"lr": [0.001, 0.01]})}
    assert swept == {**swept, **plain}
    assert set(swept) - set(plain) == {"dense-lr=0.01-seg-s0", "magnitude-lr=0.01-seg-s0"}
    other = {cell.name for cell in grid(["magnitude"], SMALL, over=["lr=0.01"])}
    assert other == set(swept) - set(plain), "however the value is spelt"


def test_each_value_of_the_network_has_a_reference_and_may_differ() -> None:
    cells = grid(["magnitude"], SMALL[:-1], over=["batch=2,4", "weighting=Equal,DynamicWeightAverage"])
    assert {(c.recipe, c.config["batch"], c.config["weighting"]["name"]) for c in cells} == {
        (recipe, batch, name) for recipe in ("dense", "magnitude") for batch in (2, 4) for name in ("Equal", "DynamicWeightAverage")
    }  # fmt: skip


def test_runs_wait_for_the_reference_of_their_own_value() -> None:
    watched = ["--callbacks=[{name: KeepBest, metric: delta_t}]", "--validate_every=1"]
    cells = grid(["magnitude"], [*SMALL, *watched], over=["lr=1e-3,3e-3"], seeds=[7])
    (own,) = references(cells[-1], cells)
    assert (own.dense, own.settings, own.seed) == (True, (("lr", "0.003"),), 7)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1e-3,3e-3", ["1e-3", "3e-3"]),
        ("[0.9,0.999],[0.5,0.999]", ["[0.9,0.999]", "[0.5,0.999]"]),
        ("[{name: KeepBest, metric: a.b}],null", ["[{name: KeepBest, metric: a.b}]", "null"]),
        ("'a,b',c", ["a,b", "c"]),
        ('["a,b]", c],d', ['["a,b]", c]', "d"]),
        ("it's,fine", ["it's", "fine"]),
    ],
)
def test_values_with_commas_stand_in_brackets_or_quotes(text: str, values: list[str]) -> None:
    assert split(text) == values


def test_folders_bear_values_that_can_stand_there() -> None:
    long, slash = "x" * 60, "a/b"
    words = folder_words((("lr", "0.003"), ("betas", "[0.9, 0.999]"), ("model.name", long), ("a", slash)))
    assert words[0] == "lr=0.003"
    assert all("/" not in word and " " not in word and len(word) < 60 for word in words)
    assert folder_words((("a", "a/b"),)) != folder_words((("a", "a_b"),)) != folder_words((("a", "a b"),))


@pytest.mark.parametrize(
    ("over", "options", "said"),
    [
        (["lr"], [], "--over is lr; give an option and its values, such as lr=1e-3,3e-3"),
        (["{lr: [1e-3, 3e-3]}"], [], "give an option and its values"),
        (["lr=1e-3,"], [], "lr has an empty value"),
        (["lr=1e-3,1e-3"], [], "lr has 1e-3 twice"),
        (["lr=1e-3,0.001"], [], "make the same run of dense"),
        (["lr=1e-3", "lr=3e-3"], [], "names lr twice"),
        (["lr=1e-3,3e-3"], ["--lr=0.1"], "--lr is given as well"),
        (["lr=1e-3,fast"], [], "lr is 'fast'; give a number"),
        (["lr=1e-3,-1"], [], "--lr=-1: --lr is -1.0; give at least 0"),
        (["steps=2,0"], [], "steps is 0; give at least 1"),
        (["betas=0.9,0.999"], [], "A value with commas stands in brackets: --over betas=[a,b],[c,d]."),
        (["betas=[0.9,0.999"], [], "lacks a closing ]"),
        (["lrr=1,2"], [], "no such option. Did you mean lr?"),
        (["method.evry=1,2"], [], "has no option evry. Did you mean method.every?"),
        (["method.every=0,1"], [], "--over method.every=0, of magnitude: every is 0"),
        ({"lr": 1e-3}, [], "over lr is 0.001; give a list"),
        ({"lr": []}, [], "lr has an empty value"),
        ("lr=1e-3,", [], "lr has an empty value"),
        (["recipe=a,b"], [], "name several recipes"),
        (["seed=1,2"], [], "the seeds are --seeds"),
        (["density=0.1,0.2"], [], "the densities are --density"),
        (["method=Dense,RigL"], [], "the recipes are the methods"),
        (["device=cpu,cuda"], [], "tells no run from another"),
        (["model=nothing,deeplab_resnet34"], [], "nothing"),
        (["model.width=0.0625,-1"], [], "--over model.width=-1"),
        (["floors={seg: 0.1},{seg: 1}"], [], "--over floors={seg: 1}, of magnitude: floors['seg'] is 1"),
        (["floors={nope: 0.1}"], [], "of magnitude: floors names ['nope']"),
        (5, [], "--over is 5; give an option and its values"),
        ([5], [], "--over is [5]; give an option and its values"),
    ],
)
def test_refused_before_anything_trains(over: Any, options: list[str], said: str) -> None:
    small = [word for word in SMALL if not word.startswith("--model") and word != "0.0625"]
    small = small[2:] if "steps" in str(over) else small
    with pytest.raises(ValueError, match=re.escape(said)):
        grid(["magnitude"], [*small, *options], over=over)


def test_a_reference_has_no_floors() -> None:
    """It has no density to back off from, and is what they are measured against."""
    for more, floors in ((["--floors={seg: 0.1}"], ({"seg": 0.1},)), ([], ({"seg": 0.1}, {"seg": 0.2}))):
        cells = grid(["magnitude"], [*SMALL, *more], over=[] if more else ["floors={seg: 0.1},{seg: 0.2}"])
        assert [c.config["floors"] for c in cells] == [None, *floors]
        assert cells[0].name == "dense-seg-s0"
        assert all(references(cell, cells) == [cells[0]] for cell in cells[1:])


def test_two_runs_never_share_a_folder(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.yaml").write_text("method: {name: GradualMagnitude}\n", encoding="utf-8")
    recipes = [str(tmp_path / folder / "mine.yaml") for folder in ("a", "b")]
    for given, more, said in (
        (recipes, {}, "are called the same; rename one"),
        (["magnitude", "magnitude"], {}, "is there twice"),
        (["magnitude"], {"densities": [0.1, 0.1]}, "is there twice"),
    ):
        with pytest.raises(ValueError, match=said):
            grid(given, SMALL, **more)


def seeds(*words: str) -> Any:
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--seeds", nargs="+", action=SeedsAction, default=1)
    return parser.parse_args(["--seeds", *words]).seeds


def test_one_number_is_how_many_and_a_list_is_the_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    assert seeds_of(seeds("3")) == (0, 1, 2)
    for words in (["0", "3", "7"], ["0,3,7"], ["[0,", "3,", "7]"], ["[0, 3, 7]"]):
        assert seeds_of(seeds(*words)) == (0, 3, 7)
    assert seeds_of(seeds("[7]")) == seeds_of(seeds("7,")) == seeds_of([7]) == (7,)
    for words, said in (
        (["0"], "--seeds is 0; at least 1"),
        (["3", "3"], "has 3 twice"),
        (["0", "-1"], "-1 is no seed"),
        (["-2"], "--seeds is -2"),
        (["0", str(2**32)], "is no seed"),
        (["[]"], "names no seed"),
        (["1.5"], "--seeds is 1.5; give how many"),
        (["all"], "--seeds is all"),
    ):
        with pytest.raises((SystemExit, argparse.ArgumentError)):
            seeds(*words)
        assert said in capsys.readouterr().err


@pytest.mark.parametrize("asked", [True, 1.5, None, "037", [0.5], ["0"], [True]])
def test_what_is_no_seed_is_said(asked: Any) -> None:
    with pytest.raises(ValueError, match=r"^--seeds"):
        seeds_of(asked)


def test_an_option_of_the_line_that_is_given_twice(capsys: pytest.CaptureFixture[str]) -> None:
    made = SeveralParser(exit_on_error=False)
    add_grid_options(made, "out")
    found = made.parse_args(["--columns", "a", "--columns", "b", "c", "--density", "0.1", "--density", "0.5"])
    assert (found.columns, found.density) == (["a", "b", "c"], [[0.1], [0.5]])
    with pytest.raises((SystemExit, argparse.ArgumentError)):
        made.parse_args(["--seeds", "1", "--seeds", "0", "7"])
    assert "--seeds is given twice" in capsys.readouterr().err


def test_seeds_are_those_asked_in_that_order() -> None:
    cells = grid(["dense"], SMALL, seeds=[7, 0])
    assert [(c.name, c.config["seed"], c.arguments[-2]) for c in cells] == [
        ("dense-seg-s7", 7, "--seed=7"),
        ("dense-seg-s0", 0, "--seed=0"),
    ]
