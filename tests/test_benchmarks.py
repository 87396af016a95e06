"""The benchmarks can be started, and what the docs show of them is what they wrote."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from processes.commands import commands
from secateur.runs import recipes

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SCRIPTS = [
    path for path in sorted((ROOT / "benchmarks").rglob("*.py")) if not (path.parent / "__init__.py").exists()
]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.relative_to(ROOT / "benchmarks").as_posix())
def test_it_imports_and_names_its_command(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(path.parent))  # as Python does for a script
    made = importlib.import_module(path.stem)
    assert made.__file__ == str(path)
    assert not hasattr(made, "main") or f"python {path.relative_to(ROOT).as_posix()}" in (made.__doc__ or "")


def test_what_the_pages_say_to_run_is_there() -> None:
    said = {
        found for page in PAGES for found in re.findall(r"\b(benchmarks/[\w/]+\.py)", page.read_text("utf-8"))
    }
    assert said
    assert not [name for name in said if not (ROOT / name).is_file()]


def test_every_file_of_results_is_linked_and_every_link_is_a_file() -> None:
    said = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    linked = set(re.findall(r"results/(\w+\.\w+)", said))
    there = {path.name for path in RESULTS.iterdir()}
    assert linked <= there
    assert {name for name in there if not name.endswith(".md")} <= linked


@pytest.mark.parametrize("table", sorted(path.name for path in RESULTS.glob("*.md")))
def test_the_page_shows_the_rows_that_were_written(table: str) -> None:
    shown = set((ROOT / "docs" / "results.md").read_text(encoding="utf-8").splitlines())
    rows = [r for r in (RESULTS / table).read_text(encoding="utf-8").splitlines() if r.startswith("|")]
    assert rows
    assert not [row for row in rows if row not in shown]


def test_the_page_of_kills_shows_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "reliability"))
    kills = importlib.import_module("kills")
    verbs = json.loads((RESULTS / "kills.json").read_text(encoding="utf-8"))["verbs"]
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    assert page.partition(kills.BEGIN)[2].partition(kills.END)[0].strip() == kills.table(verbs).strip()
    assert set(verbs) == set(commands(ROOT))
    assert not [name for name, found in verbs.items() if found["equal"] != found["tried"]]


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.md")), ids=lambda p: p.stem)
def test_the_results_page_shows_the_tables_that_were_written(path: Path) -> None:
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8").splitlines()
    assert not [line for line in path.read_text(encoding="utf-8").splitlines() if line not in page]


@pytest.mark.parametrize(
    ("room", "name"), [("reliability", "devices_page"), ("speed", "scale"), ("speed", "streams")]
)
def test_the_page_of_scale_shows_its_files(room: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / room))
    made = importlib.import_module(name)
    found = json.loads((RESULTS / f"{name.removesuffix('_page')}.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    for mark, table in made.tables(found).items():
        begin, end = (text.format(mark) for text in made.MARKS)
        assert page.partition(begin)[2].partition(end)[0].strip() == table.strip(), mark


def test_the_memory_of_a_method_is_that_of_a_process_of_its_own() -> None:
    peaks = json.loads((RESULTS / "method_cost.json").read_text(encoding="utf-8"))["memory_bytes"]
    assert len(set(peaks.values())) > 1, "alike to the byte is the peak of the process that started them"


def test_two_processes_are_one_to_rounding_of_float64() -> None:
    found = json.loads((RESULTS / "devices.json").read_text(encoding="utf-8"))["recipes"]
    assert set(found) == set(recipes())
    most = max(f["double_largest"] for f in found.values())
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    assert most < float(re.findall(r"differs by more than (\S+)\. In float32", page)[0]) < 1e-9


def test_the_table_of_a_cluster_was_that_of_one_process() -> None:
    found = json.loads((RESULTS / "cluster.json").read_text(encoding="utf-8"))["machines"]
    page = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    for kind, counts in found.items():
        assert counts["machines killed in the middle"] == 1
        for what in ("figures", "tensors"):
            assert counts[what] == counts[f"{what} that are the same"] > 0
        assert f"| {kind} | {counts['runs']} | {counts['figures']} | {counts['tensors']} | 0 |" in page


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
]
LONG += ["--workers", "1"]


@pytest.fixture
def pacs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The benchmark with results of its own and no figure, where no run is trained but what ``train`` makes up."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "quality"))
    made = importlib.import_module("pacs")
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
        options = pacs.asked(["--root", "x", *command])
        for backbone in options.backbones:
            pacs.measure(backbone, options)
    return trained


def test_what_the_files_of_pacs_hold_is_written_as_it_was(
    pacs: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = {f"pacs_{b}.json": (RESULTS / f"pacs_{b}.json").read_text(encoding="utf-8") for b in pacs.SETTINGS}
    rows = {name: row for text in held.values() for name, row in json.loads(text)["rows"].items()}
    monkeypatch.setattr(pacs.Arm, "own", property(lambda arm: rows[arm.name]["own"]))
    for name, text in held.items():
        (pacs.RESULTS / name).write_text(text, encoding="utf-8")
    assert not measured(pacs, [])
    for name in pacs.RESULTS.iterdir():
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
