"""What became of a run after its training, for the page: compacted, exported, timed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from secateur.runs.report.formats import count, listing, percent


def deployed(folder: Path) -> tuple[tuple[str, str], ...]:
    """What was done and what came of it, in pairs of a term and a sentence; empty where nothing was.

    Reads ``compact.json``, ``exports.json`` and ``bench.json``.

    Raises:
        ValueError: If one of them cannot be understood.
    """
    found: list[tuple[str, str]] = []
    readers: tuple[tuple[str, Callable[[Any], Iterator[tuple[str, str]]]], ...] = (
        ("compact.json", _compacted),
        ("exports.json", _exported),
        ("bench.json", _timed),
    )
    for name, told in readers:
        path = folder / name
        if not path.is_file():
            continue
        try:
            found += told(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{path} cannot be understood ({error!r}); delete it, or make it again."
            ) from error
    return tuple(found)


def _compacted(record: Any) -> Iterator[tuple[str, str]]:
    before, after = record["before"], record["after"]
    parts = [
        f"{count(before[key])} to {count(after[key])} {unit} ({percent(after[key] / max(1, before[key]))})"
        for key, unit in (("params", "parameters"), ("macs", "multiply-adds"))
    ]
    yield "Compacted", f"from {listing(parts)}"


def _exported(record: Any) -> Iterator[tuple[str, str]]:
    for name, made in record.items():
        tasks = f", {listing(made['tasks'])} alone" if made["tasks"] else ""
        said = "it predicts what the network does"
        if errors := made.get("errors"):
            off = listing([f"{task} {percent(error)}" for task, error in errors.items()])
            said = f"in int8, off by at most {off} of the largest value"
        yield "Exported", f"{name} for {made['format']}, {made['bytes'] / 1e6:.2f} MB{tasks}; {said}"


def _timed(record: Any) -> Iterator[tuple[str, str]]:
    name, bench = record["network"], record["bench"]
    against, threads = bench["against"], bench["settings"]["threads"]
    sizes = ", ".join(" \N{MULTIPLICATION SIGN} ".join(map(str, shape)) for shape in bench["inputs"])
    where = f"{threads} thread{'s' if threads > 1 else ''}, input {sizes}, {bench['machine'].get('processor', 'this machine')}"
    for engine, measures in bench["measures"].items():
        own, other = measures[name], measures[against]
        times = f"{own['p50']:.3g} ms against {other['p50']:.3g} ms of {against}"
        span = f"{own['speedup']:.2f} times as fast ({own['speedup_low']:.2f} to {own['speedup_high']:.2f})"
        yield f"Timed in {engine}", f"{times}, {span}; {where}"
