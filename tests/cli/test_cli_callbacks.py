"""Callbacks, trackers and optimizers on the command line: what they do, that it resumes, and what is refused before a folder is made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from my_lab import CALLBACK, Lab
from secateur.cli import main
from secateur.runs import ours
from tiny_runs import train

BESIDE = [
    "--callbacks", "[{name: EarlyStopping, metric: seg.miou, patience: 2}, {name: KeepBest, metric: delta_t}, EMA]",
    "--optimizer", "SGD", "--optimizer.momentum", "0.9", "--accumulate", "2", "--clip", "1.0", "--warmup", "0.1",
    "--validate_every", "2",
]  # fmt: skip


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_run_with_all_of_them(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    pytest.importorskip("tensorboard")
    out = tmp_path / "a"
    words = [*BESIDE, "--track", "tensorboard", "--snapshots", "3"]
    assert train("magnitude", out, *words, steps=8) == 0
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert report["kept"]["step"] in {row["step"] for row in rows(out) if "val" in row}
    assert "the weights are those of step" in capsys.readouterr().out
    config = yaml.safe_load((out / "config.yaml").read_text(encoding="utf-8"))
    assert config["optimizer"]["name"] == "SGD"
    assert config["optimizer"]["momentum"] == 0.9
    assert not {"track", "snapshots"} & config.keys()
    assert [p.name for p in sorted((out / "snapshots").iterdir())] == [
        "step-3.safetensors",
        "step-6.safetensors",
    ]
    assert list((out / "tensorboard").glob("events*"))
    assert train("magnitude", out, *BESIDE, steps=8) == 0  # the same run, tracked or not
    assert train("magnitude", out, steps=8) == 1
    assert "callbacks is" in capsys.readouterr().err


def test_a_folder_of_before_is_the_same_run(tmp_path: Path) -> None:
    out = tmp_path / "a"
    assert train("magnitude", out, steps=2) == 0
    config = yaml.safe_load((out / "config.yaml").read_text(encoding="utf-8"))
    assert "optimizer" not in config
    for key in ("accumulate", "clip", "warmup", "callbacks"):
        assert config.pop(key) is None
    (out / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    assert train("magnitude", out, steps=2) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--optimizer", "SDG"], "--optimizer SDG: no such optimizer"),
        (["--optimizer", "LBFGS"], "--optimizer LBFGS: no such optimizer"),
        (["--optimizer", "SGD", "--betas", "0.8,0.9"], "betas is Adam's"),
        (["--optimizer", "SGD", "--weight-decay", "0.1"], "--optimizer.weight_decay"),
        (["--callbacks", "EarlyStoping"], "no such callback. Ours are EMA, ClipGradients, EarlyStopping, KeepBest"),
        (["--callbacks", "Tracker"], "no such callback"),
        (["--callbacks", "[{metric: seg.miou}]"], "without a name"),
        (["--callbacks", "[{name: EMA, decai: 0.9}]"], "callback EMA has no option decai; it has decay. Did you mean decay?"),
        (["--callbacks", "EarlyStopping"], "callback EarlyStopping lacks metric; give such as '[{name: EarlyStopping, metric: ...}]'."),
        (["--callbacks", "KeepBest"], "callback KeepBest lacks metric; give such as '[{name: KeepBest, metric: ...}]'."),
        (["--callbacks", "ClipGradients"], "neither norm nor value is given; give exactly one, such as '[{name: ClipGradients, norm: 1.0}]'."),
        (["--callbacks", "[{name: ClipGradients, norm: 1.0, value: 1.0}]"], "both norm and value are given; give exactly one, such as '[{"),
        (["--callbacks", "[{name: ClipGradients, norm: true}]"], "ClipGradients: norm is True; give a positive number"),
        (["--callbacks", "[{name: EMA, decay: 2}]"], "decay is 2"),
        (["--callbacks", "[{name: KeepBest, metric: seg.mio}]"], "no metric 'seg.mio'; there are seg.miou"),
        (["--callbacks", "EMA,EMA"], "two EMA, which contradict"),
        (["--clip", "1", "--callbacks", "[{name: ClipGradients, value: 1.0}]"], "two ClipGradients"),
        (["--clip", "-1"], "--clip: ClipGradients: norm is -1.0; give a positive number"),
        (["--warmup", "2"], "--warmup: WarmUp: share is 2"),
        (["--accumulate", "0"], "--accumulate is 0; give at least 1"),
        (["--track", "tensorbord"], "no such tracker. There are tensorboard, trackio, wandb, mlflow. Did you mean tensorboard?"),
        (["--track", "tensorboard,tensorboard"], "tensorboard twice"),
        (["--snapshots", "0"], "--snapshots is 0; give at least 1"),
    ],
)  # fmt: skip
def test_what_is_refused_leaves_no_folder(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    try:
        code = train("magnitude", tmp_path / "a", *words, steps=2)
    except SystemExit as end:  # the parser's
        code = end.code
    assert code
    assert said in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


def test_what_a_file_may_name() -> None:
    """No callback that writes or sends where the file says, and no optimizer that calls the loss itself."""
    assert set(ours("callback")) == {"ClipGradients", "EMA", "EarlyStopping", "KeepBest"}
    assert {"Adam", "SGD", "RMSprop"} < set(ours("optimizer"))
    assert not {"Optimizer", "LBFGS", "SparseAdam", "lr_scheduler"} & set(ours("optimizer"))


def test_a_misspelt_option_of_the_optimizer(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        train("magnitude", tmp_path / "a", "--optimizer", "SGD", "--optimizer.momentm", "0.9", steps=2)
    assert (
        "optimizer SGD has no option momentm. Did you mean --optimizer.momentum?" in capsys.readouterr().err
    )


@pytest.mark.parametrize("key", ["track", "snapshots"])
def test_where_a_run_is_shown_is_for_the_command_line(
    key: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(yaml.safe_dump({"method": {"name": "Dense"}, key: ["wandb"]}), encoding="utf-8")
    assert main(["train", str(recipe), "--out", str(tmp_path / "a")]) == 1
    assert f"{key} is for the command line alone" in capsys.readouterr().err


def test_a_callback_of_somebody_runs_only_where_the_command_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    lab = Lab(tmp_path, monkeypatch)
    recipe = tmp_path / "mine.yaml"
    for callbacks in (
        [CALLBACK],
        [{"name": CALLBACK, "number": 3}],
        ["EMA", {"name": "os.system", "command": "x"}],
    ):
        recipe.write_text(
            yaml.safe_dump({"method": {"name": "Dense"}, "callbacks": callbacks}), encoding="utf-8"
        )
        assert main(["train", str(recipe), "--steps", "2", "--out", str(tmp_path / "a")]) == 1
        assert "which is not ours, and to import it runs its code" in capsys.readouterr().err
    recipe.write_text(yaml.safe_dump({"callbacks": [{"name": CALLBACK, "number": 3}]}), encoding="utf-8")
    assert not lab.imported
    try:
        assert train(str(recipe), tmp_path / "a", "--trust", "my_lab", steps=2) == 0
        assert lab.imported
        assert train("dense", tmp_path / "b", "--callbacks", CALLBACK, steps=2) == 0
        lab.forget()
        assert main(["evaluate", str(tmp_path / "b"), "--device", "cpu"]) == 0  # which needs none
        assert not lab.imported
    finally:
        lab.forget()
