"""What docs show of searches can be run."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

pytest.importorskip("optuna", reason="needs Optuna: pip install 'secateur[search]'")

from runs.search.searches import Made
from secateur.cli import search as cli_search
from secateur.runs import search as room
from secateur.runs.search.search import checked
from secateur.runs.search.space import read_space
from test_docs import ROOT, blocks


@pytest.mark.parametrize("page", ["docs/howto/command_line.md", "docs/searching.md"])
def test_the_searches_shown_have_a_space_that_can_be_run(page: str) -> None:
    lines = [line for block in blocks(ROOT / page, "") for line in block.splitlines()]
    shown = [line for line in lines if line.startswith("secateur search")]
    assert shown
    for line in shown:
        recipe, *argv = shlex.split(line)[2:]
        arguments, options = cli_search.parser().parse_known_args(argv)
        assert checked(read_space(arguments.over, recipe, options), recipe, options)


def test_its_program_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made(monkeypatch)  # nothing is trained
    (program,) = blocks(ROOT / "docs" / "searching.md", "python")
    monkeypatch.setattr(room, "search", lambda recipe, over, trials, out: made(tmp_path / out, 2, over))
    shown: list = []
    exec(compile(program, "searching.md", "exec"), {"print": shown.append})
    assert shown[0]
