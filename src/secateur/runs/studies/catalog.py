"""Which studies there are; to list them takes neither torch nor matplotlib."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path

from secateur.runs.parser import nearest
from secateur.runs.written import read

_FILES = Path(__file__).parent / "named"
LOOKS = {
    "sensitivity": "How each task suffers as each component or layer is pruned (AdapMTL, Figs. 5 and 7); of one finished run.",
    "allocation": "Where the kept weights are: density by component and by layer; of finished runs.",
    "weights": "What each task's loss was multiplied with, over the steps (AdapMTL, Fig. 8); of finished runs.",
    "profile": "Input channels that are left, layer by layer (Less is More, Fig. 3); of finished runs.",
}
"""Studies that look at finished runs, a line each."""


def studies() -> list[str]:
    """Names of the studies that train, as the papers have them."""
    return sorted((p.stem for p in _FILES.iterdir() if p.suffix == ".yaml"), key=_natural)


def study_path(name: str) -> Path:
    """The file of the study called ``name``.

    Raises:
        ValueError: If there is none; names the nearest.
    """
    known = [*studies(), *LOOKS]
    if name not in studies():
        raise ValueError(f"No study {name!r}; there are {', '.join(known)}.{nearest(name, known)}")
    return _FILES / f"{name}.yaml"


def listing() -> str:
    """All studies, a line or two each."""
    files = {name: read(study_path(name)) for name in studies()}
    told = {name: f"{file['about']} ({file['source']})." for name, file in files.items()}
    return f"studies that train:\n{_lines(told)}\nstudies of finished runs:\n{_lines(LOOKS)}"


def _lines(told: Mapping[str, str]) -> str:
    return "".join(
        textwrap.fill(f"{name:16}{text}", 110, initial_indent="  ", subsequent_indent=" " * 18) + "\n"
        for name, text in told.items()
    )


def _natural(name: str) -> tuple[str, int, str]:
    """``table2`` before ``table10``."""
    stem = name.rstrip("0123456789")
    return stem, int(name[len(stem) :] or 0), name
