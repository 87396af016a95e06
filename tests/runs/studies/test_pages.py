"""The page of studies has all of them, with commands that are read as they stand; and what they look at, they look at once."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from run_folders import make_run
from secateur.cli import study as cli_study
from secateur.runs.config import parse
from secateur.runs.studies import LOOKS, find_study, look, studies, words_of

ROOT = Path(__file__).resolve().parents[3]


def test_every_study_is_in_its_page_and_its_command_is_one() -> None:
    page = (ROOT / "docs" / "studies.md").read_text(encoding="utf-8")
    commands = re.findall(r"`secateur study (\w+)([^`]*)`", page)
    assert {name for name, _ in commands} == {*studies(), *LOOKS}
    for name, words in commands:
        argv = [word for word in shlex.split(words) if word != "RUN"]
        parser = cli_study.parser(trains=name not in LOOKS, looks=name in LOOKS)
        arguments, options = parser.split(argv)
        assert arguments.seeds == 1 if name not in LOOKS else not options
        if name not in LOOKS:
            recipe = find_study(name).rows[0]
            parse([recipe.recipe, *words_of(find_study(name), options), *recipe.options])


def test_a_run_that_is_named_twice_is_looked_at_once(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    found = look("allocation", [run, tmp_path / "run" / ".." / "run", run], tmp_path / "seen")
    assert found.heads == ("", "adapmtl")
