"""Forms of a method are chosen by what runs have on the validation split, never by their figures on the test split."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

QUALITY = Path(__file__).parents[2] / "benchmarks" / "quality"


@pytest.fixture
def on_validation(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(QUALITY))
    return importlib.import_module("on_validation")


def run(out: Path, name: str, miou: float, command: str = "secateur train --steps 9") -> None:
    """Half of its mIoU at first; the test split says the opposite of validation."""
    folder = out / name
    folder.mkdir(parents=True)
    rest = {"normal": {"mean": 40.0}, "depth": {"abs": 0.5}}
    report = {
        "command": command, "hardware": "paper", "versions": {}, "tasks": {"seg": {"miou": 1 - miou}, **rest},
        "higher_is_better": {"seg": {"miou": True}, "normal": {"mean": False}, "depth": {"abs": False}},
    }  # fmt: skip
    (folder / "report.json").write_text(json.dumps(report))
    rows = [
        {"step": step, "val": {"seg": {"miou": value}, **rest}} for step, value in ((1, miou / 2), (2, miou))
    ]
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))


def test_the_last_validation_counts(on_validation: Any, tmp_path: Path) -> None:
    for seed, (dense, ours, late) in enumerate([(0.2, 0.22, 0.23), (0.4, 0.48, 0.52), (0.5, 0.52, 0.53)]):
        run(tmp_path / "a", f"dense-seg+normal+depth-s{seed}", dense)
        run(tmp_path / "a", f"adapmtl-d0.1-seg+normal+depth-s{seed}", ours)
        run(tmp_path / "b", f"adapmtl-d0.1-method.freeze=1-seg+normal+depth-s{seed}", late)
    run(tmp_path / "b", "adapmtl-d0.1-method.freeze=1-seg+normal+depth-s7", 0.1)  # has no dense run
    found = on_validation.rows_of([tmp_path / "a", tmp_path / "b"])
    assert list(found) == ["adapmtl-d0.1", "dense", "adapmtl-d0.1-method.freeze=1"]
    late = on_validation.deltas(found)["adapmtl-d0.1-method.freeze=1"]
    assert late["seg"] == pytest.approx({0: 15.0, 1: 30.0, 2: 6.0})
    assert late["mean"] == pytest.approx({0: 5.0, 1: 10.0, 2: 2.0})
    lines = on_validation.table(found, "adapmtl-d0.1").splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == [
        "| adapmtl-d0.1-method.freeze=1",
        "| adapmtl-d0.1",
        "| dense",
    ]
    assert "| +5.7 ± 10.0 | +17.0 ± 30.1 | +0.0 ± 0.0 | +0.0 ± 0.0 | 0.136 | 0.4267 | 40.00 | 0.5000 | 3 |" in lines[2]  # fmt: skip


def test_what_the_file_holds_stays_where_no_folder_has_it(
    on_validation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (on_validation, importlib.import_module("nyuv2_small")):
        monkeypatch.setattr(module, "RESULTS", tmp_path)
    for part, seed, ours in (("a", 0, 0.22), ("a", 1, 0.24), ("b", 1, 0.26), ("b", 2, 0.28)):
        run(tmp_path / part, f"dense-seg+normal+depth-s{seed}", 0.2)
        run(tmp_path / part, f"adapmtl-d0.1-method.ramp=_0_1_~0123abcd-seg+normal+depth-s{seed}", ours)
    for part in ("a", "b"):
        command = ["x", str(tmp_path / part), "--first", "adapmtl-d0.1-method.ramp=_0_1_"]
        monkeypatch.setattr("sys.argv", command)
        on_validation.main()
    found = json.loads((tmp_path / "on_validation.json").read_text())["delta_t"]
    assert found["adapmtl-d0.1-method.ramp=_0_1_"]["seg"] == pytest.approx({"0": 10.0, "1": 30.0, "2": 40.0})
    run(tmp_path / "c", "dense-seg+normal+depth-s3", 0.2, "secateur train --steps 8")
    monkeypatch.setattr("sys.argv", ["x", str(tmp_path / "c")])
    with pytest.raises(SystemExit, match=r"runs of 2 settings, or of another than on_validation\.json holds"):
        on_validation.main()
