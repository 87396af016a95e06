"""The page on one's own model: what you have, and what you write, runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import secateur

PAGE = Path(__file__).resolve().parents[2] / "docs" / "own_model.md"


def test_what_you_have_and_what_you_write_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    whole, *others = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    said: list = []
    shown: dict = {"print": said.append}
    exec(compile(whole.replace("epochs=10", "epochs=1"), "own_model.md", "exec"), shown)
    assert len(others) == 4
    problems = []
    for code in others:
        exec(compile(code, "own_model.md", "exec"), shown)
        problems.append(shown["problem"])
    pair, bert, _, functions = problems
    assert sum(p.numel() for p in shown["small"].parameters()) <= sum(
        p.numel() for p in pair.model.parameters()
    )
    for problem in (bert, problems[2]):
        assert secateur.density(problem.model, secateur.components(problem)).overall == pytest.approx(
            0.1, abs=0.0005
        )
    assert said[-1].keys() == functions.tasks.keys()
    assert set(said[-1]["depth"]) == {"error"}
