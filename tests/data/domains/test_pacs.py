"""The benchmark on PACS: no file mixes two settings, and what is finished is neither trained again nor lost."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[3]
RESULTS = ROOT / "docs" / "results"
PACS = ROOT.parent / "shared" / "data" / "pacs_64"

TASKS = ("art_painting", "cartoon", "photo", "sketch")
LONG = [
    "--backbones",
    "resnet18",
    "--name",
    "long",
    "--steps",
    "9",
    "--splits",
    "layer4_0",
    "separate_bottom/layer2_1",
    "--workers",
    "1",
]


@pytest.fixture
def pacs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The benchmark with results of its own and no figure, where no run is trained but what ``train`` makes up."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "quality"))
    made = importlib.import_module("pacs")
    for domain in TASKS:
        for split, labels in (("train", [0, 1, 1]), ("test", [1, 1, 0, 2, 2])):
            np.savez(tmp_path / f"{domain}_{split}.npz", label=np.array(labels))
    for module in (made, importlib.import_module("nyuv2_small")):
        monkeypatch.setattr(module, "RESULTS", tmp_path)
    monkeypatch.setattr(made, "figure", lambda *_: None)
    monkeypatch.setattr(made.Arm, "own", property(lambda arm: {"": 0, "layer2_1": 1}.get(arm.split, 9)))
    return made


def measured(pacs: ModuleType, command: list[str], stop_before: int = 99) -> list[tuple[str, int]]:
    """The runs that it trained: each has the accuracy of its seed, and separate bottoms gain the more the later it is."""
    trained: list[tuple[str, int]] = []

    def train(arm: Any, options: Any, rate: float, seed: int) -> dict[str, Any]:
        if len(trained) == stop_before:
            raise KeyboardInterrupt
        trained.append((arm.name.removeprefix("resnet18/"), seed))
        better = 0.1 + 0.05 * seed if arm.pattern == "separate_bottom" else rate
        accuracy = dict.fromkeys(TASKS, 0.5 + 0.01 * seed + better)
        costs = {"params": {"nonzero": 1}, "macs": {"sparse": 1}}
        return {
            "test": accuracy,
            "val": accuracy,
            "seed": seed,
            "command": f"x --steps {options.steps} y",
        } | costs

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pacs.Arm, "train", train)
        options = pacs.asked(["--root", str(pacs.RESULTS), *command])
        for backbone in options.backbones:
            pacs.measure(backbone, options)
    return trained


def test_what_the_files_of_pacs_hold_is_written_as_it_was(
    pacs: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = {f"pacs_{b}.json": (RESULTS / f"pacs_{b}.json").read_text(encoding="utf-8") for b in pacs.SETTINGS}
    rows = {name: row for text in held.values() for name, row in json.loads(text)["rows"].items()}
    monkeypatch.setattr(pacs.Arm, "own", property(lambda arm: rows[arm.name]["own"]))
    guessed = [json.loads(text)["most_frequent_class"] for text in held.values()]
    monkeypatch.setattr(pacs, "guess", lambda _: guessed[0])
    for name, text in held.items():
        (pacs.RESULTS / name).write_text(text, encoding="utf-8")
    assert not measured(pacs, [])
    for name in (path for path in pacs.RESULTS.iterdir() if path.suffix != ".npz"):
        assert name.read_bytes() == (RESULTS / name.name).read_bytes()


def test_what_pacs_has_not_finished_is_kept_and_no_table(pacs: ModuleType) -> None:
    path = pacs.RESULTS / "pacs_long.json"
    with pytest.raises(KeyboardInterrupt):
        measured(pacs, [*LONG, "--seeds", "1"], stop_before=5)
    held = json.loads(path.read_text(encoding="utf-8"))
    assert held["unfinished"] == "2 of 7 runs"  # beside the three that chose the learning rate
    assert not path.with_suffix(".md").exists()

    rest = ["separate_bottom/layer2_1", "separate_bottom/layer4_0", "shared_bottom/layer4_0"]
    pruned = [f"separate_bottom/layer2_1, {recipe} at 90 %" for recipe in pacs.PRUNED]
    assert [name for name, _ in measured(pacs, [*LONG, "--seeds", "1"])] == [*rest, *pruned]
    assert (
        path.with_suffix(".md").read_text(encoding="utf-8").count("| needs two seeds | needs two seeds |")
        == 2
    )

    arms = ["independent", "shared_bottom", *rest]
    seeds = [*((name, 1) for name in arms), *((name, 2) for name in arms)]  # whole seeds, one after the other
    assert measured(pacs, [*LONG, "--seeds", "3"])[: len(seeds)] == seeds
    held = json.loads(path.read_text(encoding="utf-8"))
    assert "unfinished" not in held
    assert all([run["seed"] for run in row["runs"]] == [0, 1, 2] for row in held["rows"].values())
    # 9, 14 and 19 apart: t = 14 / (5 / sqrt(3)) at two degrees of freedom, and two such pairs
    assert "| +14.0 ± 12.4 | 0.040 | 0.080 |" in path.with_suffix(".md").read_text(encoding="utf-8")

    for other in (
        ["--seeds", "2"],
        ["--seeds", "3", "--steps", "8"],
        ["--seeds", "3", "--splits", "layer4_1"],
    ):
        with pytest.raises(SystemExit, match=r"pacs_long\.json holds what was not asked for.*--name"):
            measured(pacs, [*LONG, *other])


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["--steps", "5"], "--steps is not the default: give its results a --name"),
        (["--seeds", "0", "--name", "a"], "--seeds 0 is none"),
        (["--name", "a"], "give one of --backbones"),
        (["--name", "resnet18", "--backbones", "resnet18", "--seeds", "6"], "a name that is no backbone"),
        (["--name", "a-b", "--backbones", "resnet18"], "letters, digits and underscores"),
        (["--name", "a", "--backbones", "resnet18", "--splits", "layer5"], "--splits layer5 is no split of"),
    ],
)
def test_pacs_refuses_what_would_mix_settings(
    command: list[str], said: str, pacs: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        pacs.asked(["--root", "x", *command])
    assert said in capsys.readouterr().err


def test_folders_of_pacs_tell_lengths_apart(pacs: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []
    arms = importlib.import_module("pacs_arms")
    monkeypatch.setattr(arms.subprocess, "run", lambda command, **_: commands.append(command))
    monkeypatch.setattr(arms, "read", lambda path: {"path": path.name})
    found = [
        pacs.Arm("resnet18", "separate_bottom", "layer4_0").train(pacs.asked(["--root", "x", *more]), 0.01, 2)
        for more in ([], ["--backbones", "resnet18", "--name", "a", "--steps", "600"], LONG)
    ]
    name = "dense-resnet18-separate_bottom-layer4_0-lr0.01"
    assert [run["path"] for run in found] == [f"{name}-s2", f"{name}-s2", f"{name}-steps9-s2"]
    assert [command[command.index("--steps") + 1] for command in commands] == ["600", "600", "9"]


def test_no_file_of_pacs_is_unfinished() -> None:
    assert not [
        path for path in RESULTS.glob("pacs_*.json") if '"unfinished"' in path.read_text(encoding="utf-8")
    ]


def test_the_most_frequent_class_is_that_of_training(pacs: ModuleType) -> None:
    assert pacs.guess(pacs.RESULTS) == dict.fromkeys(TASKS, 0.4)  # class 1, two of five


@pytest.mark.parametrize("path", sorted(RESULTS.glob("pacs_*.json")), ids=lambda path: path.stem)
def test_the_files_have_the_most_frequent_class_of_the_data(path: Path, pacs: ModuleType) -> None:
    if not PACS.exists():
        pytest.skip(f"real data not found: {PACS} (lay the data folder beside the checkout)")
    assert json.loads(path.read_text(encoding="utf-8"))["most_frequent_class"] == pacs.guess(PACS)
