"""What a report calls its runs, so that no two are called the same."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from secateur.runs.report.record import RunRecord

_MOST = 3  # settings in a name


def labels(groups: Sequence[Sequence[RunRecord]]) -> list[str]:
    """A name for each group of runs that differ in the seed alone; where two share one, with the settings that differ."""
    made = [_shared(records) for records in groups]
    for name, count in Counter(made).items():
        if count > 1:
            places = [i for i, label in enumerate(made) if label == name]
            for place, added in zip(places, _told([groups[i][0] for i in places]), strict=True):
                made[place] = f"{name} ({added})"
    return made


def _shared(records: Sequence[RunRecord]) -> str:
    names = [record.name for record in records]
    if len(set(names)) == 1:
        return names[0]
    shared = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    return "".join(letters[0] for letters in shared).rstrip("-_. ") or records[0].method


def _told(records: Sequence[RunRecord]) -> list[str]:
    """What tells each of these runs from the others: a few settings, or the folder where those do not."""
    settings = [dict(flat(record.config)) for record in records]
    names = dict.fromkeys(name for found in settings for name in found)
    differ = [n for n in names if len({repr(found.get(n)) for found in settings}) > 1]
    differ = [n for n in differ if n not in ("seed", "out", "device")][:_MOST]
    told = [", ".join(f"{n.rpartition('.')[2]} {found.get(n)}" for n in differ) for found in settings]
    return told if len(set(told)) == len(records) and all(told) else [str(r.folder) for r in records]


def flat(config: Mapping[str, Any], start: str = "") -> list[tuple[str, Any]]:
    """The settings of a configuration, each by its full name: ``method.density``."""
    found: list[tuple[str, Any]] = []
    for key, value in config.items():
        found += flat(value, f"{start}{key}.") if isinstance(value, Mapping) else [(f"{start}{key}", value)]
    return found
