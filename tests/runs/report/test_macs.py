"""Multiply-adds have two names, of all and of those of weights that are not zero, and what was pruned stands beside what it was before."""

from __future__ import annotations

import json
from pathlib import Path

from run_folders import make_run
from secateur.runs.report import read_before, read_run, report, results_table


def test_all_and_those_of_weights_that_are_not_zero(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    told = json.loads((run / "report.json").read_text())
    reference = {key: told[key] for key in ("tasks", "density", "params", "macs")}
    reference["macs"] = {**told["macs"], "dense": 4000.0, "sparse": 400.0}
    (run / "budget.json").write_text(json.dumps({"reference": reference}))
    record = read_run(run)
    before = read_before(record)
    assert before is not None
    table = results_table([before, record])
    assert [str(column.header) for column in table.columns][1] == "before"
    rows = {
        str(name): str(cell) for name, cell in zip(*(list(c.cells) for c in table.columns[:2]), strict=True)
    }
    assert rows["MACs"] == "4.00\u00a0k"
    assert rows["non-zero MACs"] == "400"


def test_the_page_has_the_same_names(tmp_path: Path) -> None:
    page = report([make_run(tmp_path / "run")], tmp_path / "page.html").read_text(encoding="utf-8")
    assert 'data-label="MACs"' in page
    assert 'data-label="non-zero MACs"' in page
    assert "MACs sparse" not in page
