"""A folder or a recipe from somebody: no verb runs what it names, and ``--trust`` is the way to say that it may."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from my_lab import PARTS, Lab
from secateur.cli import main
from secateur.runs import deploy
from secateur.runs.study.cells import grid
from tiny_runs import train

READ = ("data", "model")  # what is built of a finished run
VERBS: dict[str, tuple[str, ...]] = {
    "evaluate": ("evaluate", "FOLDER"),
    "predict": ("predict", "FOLDER", "GOOD", "--out", "seen"),
    "overlap": ("overlap", "FOLDER", "--batches", "1"),
    "compact": ("compact", "FOLDER"),
    "export": ("export", "FOLDER", "--format", "pt2"),
    "bench": ("bench", "FOLDER", "--repeats", "1"),
    "against": ("bench", "GOOD", "--against", "FOLDER", "--repeats", "1"),
    "second": ("bench", "GOOD", "FOLDER", "--repeats", "1"),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of ours."""
    folder = tmp_path_factory.mktemp("runs") / "good"
    assert train("dense", folder, steps=2) == 0
    return folder


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    made = Lab(tmp_path, monkeypatch)
    yield made
    made.forget()


def changed(good: Path, to: Path, kind: str, value: Any) -> Path:
    """A copy of a run whose configuration names something else."""
    shutil.copytree(good, to)
    config = yaml.safe_load((to / "config.yaml").read_text(encoding="utf-8"))
    (to / "config.yaml").write_text(yaml.safe_dump(config | {kind: value}), encoding="utf-8")
    return to


def hostile(kind: str, mark: Path) -> Any:
    """``os.system``, told to leave a mark."""
    return {"name": "os.system", "command": f"touch {mark}"}


@pytest.mark.parametrize("kind", PARTS)
@pytest.mark.parametrize("verb", VERBS)
def test_no_verb_calls_what_a_folder_names(
    verb: str, kind: str, good: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    if kind not in READ and verb != "evaluate":
        return  # such a verb reads no more of them than evaluate does
    mark = tmp_path / "mark"
    folder = changed(good, tmp_path / "theirs", kind, hostile(kind, mark))
    before = sorted(p.name for p in folder.iterdir())
    words = [{"FOLDER": str(folder), "GOOD": str(good)}.get(word, word) for word in VERBS[verb]]
    assert main(words) == (1 if kind in READ else 0)
    assert not mark.exists()
    said = capsys.readouterr().err
    if kind in READ:
        assert f"{folder / 'config.yaml'} names {kind} os.system, which is not ours" in said
        assert "say --trust os." in said
    assert sorted(p.name for p in folder.iterdir()) == before


@pytest.mark.parametrize("kind", PARTS)
@pytest.mark.parametrize("words", [("train", "RECIPE"), ("train", "dense", "--config", "RECIPE"), ("compare", "RECIPE"), ("compare", "dense", "--config=RECIPE")])  # fmt: skip
def test_no_verb_calls_what_a_recipe_names(
    words: tuple[str, ...], kind: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    mark, recipe = tmp_path / "mark", tmp_path / "mine.yaml"
    recipe.write_text(yaml.safe_dump({kind: hostile(kind, mark)}), encoding="utf-8")
    argv = [word.replace("RECIPE", str(recipe)) for word in words]
    assert main([*argv, "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert f"{recipe} names {kind} os.system, which is not ours" in said
    assert "say --trust os." in said
    assert not mark.exists()
    assert not (tmp_path / "out").exists()


def test_neither_a_teacher_nor_a_reference_nor_a_neighbour_is_called(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    mark = tmp_path / "mark"
    theirs = changed(good, tmp_path / "theirs", "model", hostile("model", mark))
    assert train("magnitude", tmp_path / "one", "--teacher", str(theirs), steps=2) == 1
    assert f"{theirs / 'config.yaml'} names model os.system" in capsys.readouterr().err
    assert (
        train("magnitude", tmp_path / "two", "--against", str(theirs), "--floors", "{seg: 0.9}", steps=2) == 0
    )
    assert main(["report", str(theirs), "--out", str(tmp_path / "page.html")]) == 0
    assert not mark.exists()


def test_names_on_the_command_line_train_and_resume_and_the_folder_asks_for_trust(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [word for kind, name in PARTS.items() for word in (f"--{kind}", name)]
    argv = ["train", "dense", *words, "--method.density", "0.5", "--steps", "2", "--device", "cpu", "--out", str(tmp_path / "a")]  # fmt: skip
    for _ in range(2):
        lab.forget()
        assert main(argv) == 0
        assert lab.imported
    folder = str(tmp_path / "a")
    for verb in ("evaluate", "overlap", "compact", "export", "bench"):
        more = ["--format", "pt2"] if verb == "export" else []
        lab.forget()
        assert main([verb, folder, *more]) == 1
        assert "names data my_lab.streets, which is not ours" in capsys.readouterr().err
        assert not lab.imported
        if verb != "bench":
            assert main([verb, folder, *more, "--trust", "my_lab"]) == 0

    def timed(*_: object, **__: object) -> None:
        raise ValueError("both networks are there")

    monkeypatch.setattr(deploy, "bench", timed)  # which takes minutes
    assert main(["bench", folder, "--trust", "my_lab"]) == 1
    assert "both networks are there" in capsys.readouterr().err


def test_a_recipe_of_foreign_parts_trains_with_trust(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    recipe = tmp_path / "mine.yaml"
    parts: dict[str, Any] = {kind: {"name": name} for kind, name in PARTS.items()}
    parts["method"] |= {"density": 0.5, "ramp": [0.0, 1.0]}
    recipe.write_text(yaml.safe_dump({**parts, "steps": 2, "device": "cpu"}), encoding="utf-8")
    argv = ["train", str(recipe), "--out", str(tmp_path / "a")]
    assert main(argv) == 1
    assert f"{recipe} names data my_lab.streets" in capsys.readouterr().err
    assert not lab.imported
    assert main([*argv, "--trust", "my_lab"]) == 0
    lab.forget()
    assert (
        main([*argv[:-1], str(tmp_path / "a"), "--trust=my_lab"]) == 0
    )  # the same run: trust is no part of it
    assert "trust" not in yaml.safe_load((tmp_path / "a" / "config.yaml").read_text(encoding="utf-8"))
    same = ["--data", PARTS["data"], "--model", PARTS["model"], "--steps=2"]
    cells = grid([str(recipe)], ["--trust", "my_lab", *same])
    assert all("--trust" in cell.arguments for cell in cells)
    with pytest.raises(ValueError, match=r"names method my_lab\.Method"):
        grid([str(recipe)], same)
