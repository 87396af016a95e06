"""The benchmarks can be started, and what the docs show of them is what they wrote."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from processes.commands import commands
from secateur.measures import corrected, p_value
from secateur.runs import recipes

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results"
MEASURED = [ROOT / "docs" / "results.md", *sorted((ROOT / "docs" / "measured").glob("*.md"))]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *MEASURED[1:]]
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


def test_the_page_of_kills_shows_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "reliability"))
    kills = importlib.import_module("kills")
    verbs = json.loads((RESULTS / "kills.json").read_text(encoding="utf-8"))["verbs"]
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    assert page.partition(kills.BEGIN)[2].partition(kills.END)[0].strip() == kills.table(verbs).strip()
    assert set(verbs) == set(commands(ROOT))
    assert not [name for name, found in verbs.items() if found["equal"] != found["tried"]]


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.md")), ids=lambda p: p.stem)
def test_one_page_shows_the_table_as_it_was_written(path: Path) -> None:
    rows = path.read_text(encoding="utf-8").splitlines()
    assert any(row.startswith("|") for row in rows)
    assert any(set(rows) <= set(page.read_text(encoding="utf-8").splitlines()) for page in MEASURED)


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


def sitting(seeds: dict[int, float], command: str) -> dict[str, Any]:
    """What `compare` wrote of three recipes, where ours has ``seeds`` as its ΔT, and another one less or two."""

    def arm(recipe: str, less: float) -> dict[str, Any]:
        values = {str(seed): value - less * (1 + seed % 2) for seed, value in seeds.items()}
        figure = {"group": "ΔT", "name": "mean", "better": "higher", "seeds": values, "mean": 0.0, "sd": None, "margin_95": None}  # fmt: skip
        return {"recipe": recipe, "density": 0.1, "tasks": ["a"], "dense": recipe == "dense", "settings": {}, "figures": [figure]}  # fmt: skip

    arms = [arm("dense", 0.0), arm("adapmtl", 0.0), arm("feather", 1.0)]
    return {"command": command, "hardware": ["paper"], "versions": {}, "arms": arms}


def test_sittings_are_joined_by_their_seeds_and_tested_against_the_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "quality"))
    rows = importlib.import_module("table1_rows")
    command = "secateur compare dense adapmtl feather --density 0.1 --seeds {} --steps 9 --jobs {} --out {}"
    held, new = tmp_path / "held.json", tmp_path / "new.json"
    held.write_text(json.dumps(sitting({0: 2.0, 1: 1.0}, command.format(2, 1, "a"))))
    new.write_text(json.dumps(sitting({2: 3.0, 3: 2.0}, command.format("2 3", 2, "b"))))
    monkeypatch.setattr("sys.argv", ["x", str(held), str(new), str(held), "--first", "adapmtl"])
    for _ in range(2):  # again, with what it wrote: the same
        rows.main()
        found = json.loads(held.read_text())
        ours, other = (arm["figures"][0] for arm in found["arms"][1:])
        assert ours["seeds"] == {"0": 2.0, "1": 1.0, "2": 3.0, "3": 2.0}
        assert (ours["mean"], other["mean"]) == (2.0, 0.5)
        assert [len(found[key]) for key in ("command", "hardware", "versions")] == [2, 1, 1]
        # 1, 2, 1 and 2 apart: t = 1.5 / (0.577 / 2) = 5.196 at three degrees of freedom
        assert found["p"]["raw"] == found["p"]["holm"] == {"feather": pytest.approx(0.0138, abs=1e-4)}
        assert "| feather | +0.5 ± 2.1 |  |" in capsys.readouterr().out
    third = command.format(1, 1, "c")
    for seed, other, said in (
        (4, third.replace("--steps 9", "--steps 8"), "not of one setting"),
        (1, third, "dense has two values of ΔT mean for one seed"),
    ):
        new.write_text(json.dumps(sitting({seed: 9.0}, other)))
        with pytest.raises(SystemExit, match=said):
            rows.main()
    monkeypatch.setattr("sys.argv", ["x", str(held), str(tmp_path / "out.json"), "--first", "rigl"])
    with pytest.raises(SystemExit, match="--first rigl has no ΔT here: adapmtl, feather have"):
        rows.main()


def finished(root: Path, name: str, value: float, command: str) -> None:
    """What `secateur train` leaves of a run, as far as tables read it."""
    report = {
        "command": command, "hardware": "paper", "versions": {}, "dense": "-d" not in name, "density": {"overall": 0.1, "components": {"b": 0.2}},
        "steps_in_all": 9, "tasks": {"a": {"error": value, "hits": 2.0}}, "higher_is_better": {"a": {"error": False, "hits": True}},
    }  # fmt: skip
    (root / name).mkdir(parents=True)
    (root / name / "report.json").write_text(json.dumps(report))


def test_finished_runs_are_against_the_dense_figures_that_a_file_holds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "quality"))
    rows = importlib.import_module("table1_rows")
    command = (
        "secateur train {} --steps 9 --method.density=0.1 --seed={} --data.tasks=[a] --out x --workers=0"
    )
    held, runs = tmp_path / "held.json", tmp_path / "runs"
    finished(tmp_path / "dense", "dense-a-s0", 4.0, command.format("dense", 0))
    finished(tmp_path / "dense", "dense-a-s3", 5.0, command.format("dense", 3))
    finished(runs, "st3-d0.1-a-s0", 2.0, command.format("st3", 0))
    finished(runs, "st3-d0.1-a-s3", 5.0, command.format("st3", 3))
    for source in (tmp_path / "dense", runs):
        monkeypatch.setattr(
            "sys.argv", ["x", *([str(held)] if held.exists() else []), str(source), str(held)]
        )
        rows.main()
    found = json.loads(held.read_text())
    dense, arm = found["arms"]
    figures = {(f["group"], f["name"]): f for f in arm["figures"]}
    assert (arm["recipe"], arm["density"], dense["density"]) == ("st3", 0.1, None)
    assert figures["ΔT", "mean"]["seeds"] == figures["ΔT", "a"]["seeds"] == {"0": 25.0, "3": 0.0}
    assert figures["ΔT", "sum"]["mean"] == 25.0
    assert figures["a", "error"]["seeds"] == {"0": 2.0, "3": 5.0}
    assert figures["density", "b"]["mean"] == 0.2
    assert len(found["command"]) == 4
    for name, said in (
        ("st3-d0.1-a-s7", "st3 of seed 7 has no dense"),
        ("st3~0badcafe-d0.1-a-s0", "no run of a recipe"),
    ):
        finished(tmp_path / name, name, 1.0, command.format("st3", 7))
        monkeypatch.setattr("sys.argv", ["x", str(held), str(tmp_path / name), str(tmp_path / "out.json")])
        with pytest.raises(SystemExit, match=said):
            rows.main()


def test_several_densities_are_told_apart_and_each_is_tested_by_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "quality"))
    rows = importlib.import_module("table1_rows")
    out, command = tmp_path / "out.json", "secateur train x --seed={} --out x"
    errors = {"dense-a-s{}": (4.0, 4.0), "ours-d0.1-a-s{}": (3.0, 2.0), "st3-d0.1-a-s{}": (3.5, 3.0), "set-d0.1-a-s{}": (4.0, 3.5), "ours-d0.05-a-s{}": (4.0, 3.0), "st3-d0.05-a-s{}": (5.0, 4.5)}  # fmt: skip
    for name, values in errors.items():
        for seed, value in enumerate(values):
            finished(tmp_path / "runs", name.format(seed), value, command.format(seed))
    argv = ["x", str(tmp_path / "runs"), str(out), "--first", "ours", "--only", "ours", "st3"]
    monkeypatch.setattr("sys.argv", argv)
    rows.main()
    found, table = json.loads(out.read_text()), out.with_suffix(".md").read_text()
    assert {arm["recipe"] for arm in found["arms"]} == {"dense", "ours", "st3"}
    assert found["p"]["holm"] == found["p"]["raw"]  # one rival at each density
    assert set(found["p"]["raw"]) == {"st3, 90 %", "st3, 95 %"}
    assert "| ours, 95 % | +6.2 ± 79.4 |" in table


def test_the_page_corrects_the_tests_of_table_1_as_its_files_do() -> None:
    found: dict[str, dict[int, float]] = {}
    for name in ("table1", "table1_mended", "table1_default"):  # later rows count
        for arm in json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))["arms"]:
            values = next(f["seeds"] for f in arm["figures"] if (f["group"], f["name"]) == ("ΔT", "mean"))
            found[arm["recipe"]] = {int(seed): value for seed, value in values.items()}
    ours = found.pop("adapmtl")
    rivals = {name: values for name, values in found.items() if name not in ("dense", "imp", "lth")}
    holm = corrected({name: p_value(ours, values) for name, values in rivals.items()})
    page = (ROOT / "docs" / "measured" / "table1.md").read_text(encoding="utf-8")
    said = (
        "`disparse_pretrained` (p = {disparse_pretrained:.3f}), random\n({random:.2f}), SNIP ({snip:.2f}) and magnitude ({magnitude:.2f}); "
        "not from DiSparse, RigL and STR ({str:.2f} each), ST-3 ({st3:.2f}) and SET ({set:.2f})."
    )
    assert len(holm) == 9
    assert said.format(**holm) in page
    assert f"{holm['disparse']:.2f}" == f"{holm['rigl']:.2f}" == f"{holm['str']:.2f}"


def test_the_page_corrects_the_tests_at_6000_steps_for_what_it_says() -> None:
    """The table for all its rows; the text for the rivals that train once."""
    raw = json.loads((RESULTS / "steps6000.json").read_text(encoding="utf-8"))["p"]["raw"]
    others = {
        "adapmtl_per_component",
        "disparse_pretrained",
        "imp",
        "lth",
    }  # ours, and what trains more than once
    holm = corrected({name: p for name, p in raw.items() if name not in others})
    assert len(holm) == 13
    assert {f"{holm[name]:.3f}" for name in ("snip", "st3", "minmax", "rigl", "magnitude")} == {"0.041"}
    assert f"{holm['adapmtl_reference']:.3f}" == f"{holm['feather']:.3f}" == "0.053"
    page = (ROOT / "docs" / "measured" / "table1_long.md").read_text(encoding="utf-8")
    assert "RigL and magnitude (0.041 each)" in page
    assert "Feather are not (0.053 each)" in page
