"""Commands that the pages print are read as they stand: options that exist, and those that a command cannot do without."""

from __future__ import annotations

import re
import shlex
from itertools import dropwhile
from pathlib import Path

import pytest

from secateur.cli import prune as cli_prune
from secateur.cli import study as cli_study
from secateur.runs.config import parse
from secateur.runs.studies import LOOKS, find_study, words_of

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *(page for room in (".", "howto", "measured", "tutorials") for page in sorted((DOCS / room).glob("*.md")))]  # fmt: skip
# A part of one's own, a search's best, what stands for the rest, and an option that is given beside those of a table.
NOT_READ = re.compile(r"my_lab|best\.yaml|\.\.\.|--help|ENGINE|dense6000_plain")


def commands(page: Path) -> list[tuple[str, list[str]]]:
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    found = re.findall(r"(?:^|`)secateur (train|prune|study) ([^`\n]*)", text, re.MULTILINE)
    return [(verb, shlex.split(words, comments=True)) for verb, words in found if not NOT_READ.search(words)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_of_a_page_are_read(page: Path) -> None:
    for verb, words in commands(page):
        if verb == "train":
            parse(words)
        elif verb == "prune":
            cli_prune.parser().parse_args(words)
        else:
            name, *rest = words
            if "|" in words or name == "NAME":
                continue
            argv = list(
                dropwhile(lambda word: not word.startswith("--"), rest)
            )  # behind the runs that it looks at
            parser = cli_study.parser(trains=name not in LOOKS, looks=name in LOOKS)
            _, options = parser.split(argv)
            if name not in LOOKS:
                study = find_study(name)
                parse([study.rows[0].recipe, *words_of(study, options), *study.rows[0].options])


def test_most_pages_have_some() -> None:
    assert sum(len(commands(page)) for page in PAGES) > 60
