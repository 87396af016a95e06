"""Options, recipes and what is refused on the command line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from secateur.cli import main
from tiny_runs import TINY


def test_print_config_is_a_recipe(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as done:
        main(["train", "adapmtl", *TINY, "--method.density", "0.2", "--print_config"])
    assert done.value.code == 0
    recipe = tmp_path / "mine.yaml"
    text = capsys.readouterr().out
    assert yaml.safe_load(text)["method"]["density"] == 0.2
    recipe.write_text(text)
    assert main(["train", str(recipe), "--steps", "2", "--out", str(tmp_path / "run")]) == 0
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["method"]["density"] == 0.2


def test_help_names_recipes_and_the_options_of_the_parts(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["train", "adapmtl", "--data", "nyuv2", "--help"])
    shown = capsys.readouterr().out
    for expected in ("adapmtl_paper", "--data.root", "--method.density", "--weighting.window", "--size"):
        assert expected in shown
    assert main([]) == 2
    assert main(["--help"]) == 0


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["adapmtl", "--method.densty", "0.2"], "--method.densty"),
        (["adapmtl", "--method.density", "much"], "method.density"),
        (["adapmtl", "--steps", "many"], "steps"),
    ],
)
def test_misspelt_keys_and_wrong_types_are_refused(
    argv: list[str], said: str, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["train", *argv])
    assert refused.value.code == 2
    assert said in capsys.readouterr().err


def test_a_misspelt_key_in_a_recipe_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("method: {name: SoftThreshold, densty: 0.2}\n")
    with pytest.raises(SystemExit):
        main(["train", str(recipe), *TINY])
    assert "densty" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["adpmtl"], "No recipe 'adpmtl'"),
        (["dense", "--data", "nyu"], "no such data"),
        (["dense", "--data", "nyu"], "its import path, such as my_lab.streets.streets"),
        (["dense", "--size", "60,80"], "such as 60x80"),
        (["adapmtl", "--method.density", "1.5"], "must lie in (0, 1]"),
        (["dense", "--data", "nyuv2", "--data.root", "nowhere"], "nowhere"),
        (["dense", "--against", "nowhere"], "no finished run there"),
    ],
)
def test_bad_input_is_explained_and_leaves_nothing(
    argv: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "run"
    assert main(["train", *argv, "--out", str(out)]) == 1
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (out / "report.json").exists()


WRITING = {
    "train": ["dense", *TINY, "--out"],
    "report": ["run", "--out"],
    "export": ["run", "--out"],
    "predict": ["run", "photo.png", "--out"],
    "prune": ["run", "--budget", "0.5 macs", "--out"],
    "compare": ["dense", *TINY, "--out"],
    "search": ["dense", "--over", "{lr: [1e-3, 1e-2]}", "--out"],
    "study": ["weights", "run", "--out"],
    "bench": ["run", "--json"],
    "doctor": ["--data", "rooms", "--out"],
    "pack": ["net.onnx", "--out"],
    "pull": ["my-lab/rooms", "--out"],
}


@pytest.mark.parametrize("verb", WRITING)
def test_where_nothing_can_be_written_is_said_before_any_work(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "kept").mkdir()
    allowed = os.access
    monkeypatch.setattr("os.access", lambda path, mode: Path(path).name != "kept" and allowed(path, mode))
    option = WRITING[verb][-1]
    for out, said in {
        "notes.txt/run": "Cannot write notes.txt/run: notes.txt is a file, and nothing can lie below one; ",
        "kept/run/it": f"kept may not be written to; choose another {option}.",
        "n" * 300: f"{option}: no file can have the name that is given (",
        "": f"{option} is empty; give its value, or leave it out.",
    }.items():
        assert main([verb, *WRITING[verb], out]) == 1
        assert said in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["kept", "notes.txt"]


def test_an_option_without_a_value_is_not_left_out_in_silence(capsys: pytest.CaptureFixture) -> None:
    for words in (["--against", ""], ["--against="], ["--teacher", " "]):
        assert main(["train", "dense", *TINY, *words]) == 1
        assert f"{words[0].rstrip('=')} is empty" in capsys.readouterr().err


VERBS = {
    "evaluate": ["RUN"],
    "report": ["RUN"],
    "overlap": ["RUN"],
    "compact": ["RUN"],
    "export": ["RUN"],
    "bench": ["RUN"],
    "predict": ["RUN", "photo.png", "--out", "seen"],
    "prune": ["RUN", "--budget", "0.5 macs", "--out", "half"],
    "push": ["RUN", "my-lab/rooms", "--dry_run"],
    "study": ["weights", "RUN"],
    "train": ["dense", *TINY, "--against", "RUN", "--out", "run"],
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_folder_of_runs_in_the_place_of_a_run_names_them(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("dense", "mine one"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "config.yaml").write_text("seed: 0\n")
    assert main([verb, *("runs" if word == "RUN" else word for word in VERBS[verb])]) == 1
    said = capsys.readouterr().err
    assert (
        "runs is no run folder, but holds 2 of them; name what is meant: runs/dense 'runs/mine one'." in said
    )
    assert "not finished" not in said


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("run/model.safetensors", "is a file, and a run is a folder; give run."),
        ("nowhere", "nowhere does not exist and is no run folder"),
        ("empty", "empty is no run folder (it has no config.yaml)"),
    ],
)
def test_what_is_no_run_says_why(
    path: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("run", "empty"):
        (tmp_path / name).mkdir()
    for name in ("config.yaml", "model.safetensors"):
        (tmp_path / "run" / name).write_text("seed: 0\n")
    for verb in ("report", "bench"):
        assert main([verb, path]) == 1
        assert why in capsys.readouterr().err
