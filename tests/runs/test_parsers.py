"""Parsers are kept, and what is read with one does not show in another."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from secateur.runs import parse, train_parser


def test_a_recipe_that_has_changed_is_read_again(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    for steps in (3, 4):
        recipe.write_text(f"steps: {steps}\nmethod: {{name: SoftThreshold, density: 0.{steps}}}\n")
        read = parse([str(recipe)])
        assert (read.steps, read.method.density) == (steps, steps / 10)
    assert parse([str(recipe), "--steps", "7"]).steps == 7
    assert parse([str(recipe)]).steps == 4


def test_each_names_its_own_files(tmp_path: Path) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("seed: 1\n")
    two.write_text("seed: 2\nlr: much\n")
    first, other = (train_parser(["dense", "--config", str(path)], exits=False) for path in (one, two))
    assert [[*map(str, parser.files)][-1] for parser in (first, other)] == [str(one), str(two)]
    with pytest.raises(ValueError, match=r"two\.yaml: lr is 'much'; give a number"):
        other.read(["dense", "--config", str(two)])
    assert first.read(["dense", "--config", str(one)]).seed == 1


def test_a_model_that_cannot_be_a_key_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "odd_lab.py").write_text(
        "class Make:\n"
        "    def __eq__(self, other): return self is other\n"
        "    def __call__(self, tasks, width: int = 3): ...\n"
        "net = Make()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    asked = ["dense", "--model", "odd_lab.net", "--model.width", "5"]
    assert [parse(asked).model.width for _ in range(2)] == [5, 5]


@pytest.mark.parametrize(
    "words", [["2012,on,'null'"], ["[2012, on, 'null']"], ["2012", "on", "'null'"], ["2012,'on'", '"null"']]
)
def test_words_are_text_where_text_is_wanted(words: list[str]) -> None:
    assert parse(["dense", "--tasks", *words], exits=False).data.tasks == ["2012", "on", "null"]
    assert parse(["dense", "--betas", "0.5,0.9"], exits=False).betas == (0.5, 0.9)
    given = parse(["dense", "--callbacks", "[EMA, {name: KeepBest, metric: seg.miou}]"], exits=False)
    assert given.callbacks == ["EMA", {"name": "KeepBest", "metric": "seg.miou"}]


@pytest.mark.parametrize("words", [["null"], ["~"], ["[null]"], ["seg,~"], ["seg", "null"]])
def test_null_among_texts_is_none(words: list[str]) -> None:
    with pytest.raises(ValueError, match=r"--data.tasks is 'None'; give a list such as a,b, in quotes"):
        parse(["dense", "--tasks", *words], exits=False)
    assert parse(["dense", "--floors", "null"], exits=False).floors is None


def test_what_yaml_reads_as_something_else_is_asked_for_in_quotes(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    for text, said in (
        ("out: 2024_01\n", "out is '202401'; give text, in quotes"),
        ("data: {tasks: [seg, on]}\n", "data.tasks is 'True'; give a list such as a,b, in quotes"),
        ("data: {tasks: seg}\n", "data.tasks is 'seg'; give a list such as a,b."),
    ):
        recipe.write_text(text)
        with pytest.raises(ValueError, match=re.escape(said)):
            parse([str(recipe)], exits=False)


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        ("steps: 4\n", ["{}"], r"lacks method\.name, .*secateur train less_is_more --config"),
        ("steps: 4\n", ["--config", "{}"], r"lacks method\.name, .*secateur train less_is_more --config"),
        ("method: {density: 0.3}\n", ["{}"], r"lacks method\.name, "),
        ("steps: 4\n", ["dense", "--config", "{}"], "is for the recipe less_is_more, and .* names dense"),
    ],
)
def test_a_file_that_names_a_recipe_without_having_it_is_no_dense_run(
    text: str, words: list[str], said: str, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(f"recipe: less_is_more\n{text}")
    with pytest.raises(ValueError, match=said):
        parse([word.format(mine) for word in words], exits=False)
    if "steps" in text:
        read = parse(["less_is_more", "--config", str(mine)])
        assert (read.steps, read.method.name) == (4, "GroupLasso")


def test_what_was_printed_is_a_recipe_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine.yaml"
    with pytest.raises(SystemExit):
        parse(["less_is_more", "--steps", "4", "--print_config"])
    mine.write_text(capsys.readouterr().out)
    assert "recipe: less_is_more" in mine.read_text()
    for words in ([str(mine)], ["--config", str(mine)]):
        read = parse(words)
        assert (read.steps, read.method.name, read.method.density) == (4, "GroupLasso", 0.3)
    mine.write_text(mine.read_text().replace("recipe: less_is_more", "recipe: less_is_mor"))
    with pytest.raises(ValueError, match=r"recipe is 'less_is_mor': .*Did you mean less_is_more\?"):
        parse([str(mine)], exits=False)
