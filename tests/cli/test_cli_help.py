"""Every option is described, and what is misspelt is told its neighbour in one line."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from secateur.cli import main
from secateur.cli.main import VERBS
from secateur.runs import train_parser
from secateur.runs.config import parse, recipes
from secateur.runs.names import ROOMS, ours
from secateur.runs.parser import bracketed, nearest, words


def said(argv: list[str], capsys: pytest.CaptureFixture) -> tuple[int, str]:
    """Exit status and what stands on standard error, in one line or the test fails."""
    try:
        code = main(argv)
    except SystemExit as end:
        code = int(str(end.code))
    text = capsys.readouterr().err
    assert text.count("\n") == 1, text
    return code, text


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in ROOMS for name in ours(kind)])
def test_every_option_of_every_part_is_described(kind: str, name: str) -> None:
    made = train_parser(["dense", f"--{kind}", name])
    assert not [action.dest for action in made._actions if not action.help]
    shown = made.format_help()
    assert not re.findall(r"<(?:function|class) |:\w+:`|``", shown), shown


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_of_every_verb_is_described(verb: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        main([verb, "--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert " at 0x" not in shown
    if verb != "train":  # whose parser depends on the parts
        made = import_module(f"secateur.cli.{VERBS[verb]}").parser()
        assert not [action.dest for action in made._actions if not action.help]


def test_every_recipe_has_a_line() -> None:
    shown = train_parser(["dense"]).format_help()
    for name in recipes():
        (text,) = re.findall(rf"^  {name} +(\S.*)$", shown, re.MULTILINE)
        assert len(text) > 20


@pytest.mark.parametrize(
    ("argv", "near"),
    [
        (["trian", "dense"], "`secateur train`"),
        (["train", "adapmlt"], "adapmtl"),
        (["train", "dense", "--stps", "4"], "--steps"),
        (["train", "dense", "--wieght-decay=4"], "--weight_decay"),
        (["train", "dense", "--datta", "rooms"], "--data"),
        (["compare", "dense", "--datta", "rooms"], "--data"),
        (["train", "adapmtl", "--densty", "0.2"], "--density"),
        (["train", "adapmtl", "--method.densty", "0.2"], "--method.density"),
        (["train", "adapmtl", "--method.window", "0.2"], "--weighting.window"),
        (["train", "dense", "--decay", "cosin"], "cosine"),
        (["train", "adapmtl", "--method.components", "lyer"], "layer"),
        (["train", "dense", "--method", "softthreshold"], "SoftThreshold"),
        (["train", "dense", "--data", "nyu2"], "nyuv2"),
        (["compare", "dense", "--densty", "0.2"], "--density"),
        (["compare", "dense", "--stps", "2"], "--steps"),
        (["study", "tabel1"], "table1"),
        (["evaluate", "run", "--splt", "val"], "--split"),
        (["export", "run", "--format", "onxx"], "onnx"),
        (["bench", "run", "--engines", "torch,onnx"], "onnxruntime"),
        (["bench", "run", "--engine", "torch"], "--engines"),
        (["doctor", "--data", "romms"], "rooms"),
    ],
)
def test_a_neighbour_is_suggested_in_one_line(
    argv: list[str], near: str, capsys: pytest.CaptureFixture
) -> None:
    code, text = said(argv, capsys)
    assert code in (1, 2)
    assert f"Did you mean {near}?" in text


def test_a_misspelt_key_of_a_file_names_the_file(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    recipe = tmp_path / "mine.yaml"
    for text, wanted in (
        ("method: {name: SoftThreshold, densty: 0.2}", "densty. Did you mean method.density?"),
        ("stps: 3", "stps: no such option. Did you mean steps?"),
        ("steps: many", "steps is 'many'; give a whole number."),
    ):
        recipe.write_text(text)
        code, line = said(["train", str(recipe)], capsys)
        assert code == 2
        assert str(recipe) in line
        assert wanted in line


def test_a_number_out_of_range_is_said_where_it_stands(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("steps: -5")
    assert f"{recipe}: steps is -5; give at least 1." in said(["train", str(recipe)], capsys)[1]
    for option in ("steps", "batch", "workers", "seed", "lr", "validate_every", "tries", "snapshots"):
        code, line = said(["train", "dense", f"--{option}=-5"], capsys)
        assert code == 2
        assert f"--{option} is -5" in line
        assert "give at least" in line


def test_a_recipe_that_is_not_first_is_no_dense_run(capsys: pytest.CaptureFixture) -> None:
    assert "stands first" in said(["train", "--steps", "3", "adapmtl"], capsys)[1]
    assert "A recipe, named first" in said(["train", "--method.density", "0.3"], capsys)[1]


def test_spellings_of_one_thing() -> None:
    one = parse(
        ["adapmtl", "--method.density", "0.2", "--data.tasks", "[seg, depth]", "--weight_decay", "0.1"]
    )
    for other in (
        ["--density=0.2", "--tasks", "seg,depth", "--weight-decay=0.1"],
        ["--method.density=0.2", "--data.tasks=seg,depth", "--weight_decay=0.1"],
        ["--density", "0.2", "--tasks", "seg", "depth", "--weight-decay", "0.1"],
    ):
        assert parse(["adapmtl", *other]) == one
    assert bracketed(["--a", "x", "y", "--b", "z", "--a=null"], {"--a"}) == [
        "--a=[x,y]",
        "--b",
        "z",
        "--a=null",
    ]


def test_words_and_neighbours() -> None:
    assert words(tuple[float, float]).startswith("2 values")
    assert words(int | None) == "a whole number"
    assert nearest("zzz", ["abc"]) == ""
    assert nearest("ABD", ["abc", "xyz"], "-") == " Did you mean -abc?"
