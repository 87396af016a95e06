"""Before and after in numbers: parameters, work, time, memory and files; and all that was timed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from secateur.runs.report.deployed.standing import before_and_after, compared
from secateur.runs.report.formats import MISSING, count, percent

_TIMES = "\N{MULTIPLICATION SIGN}"


def sizes(files: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """What is measured, before, after, and what is left of it."""
    found: list[tuple[str, str, str, str]] = []
    before, after = before_and_after(files)
    for key, term in (("params", "Parameters"), ("macs", "Multiply-adds")) if before else ():
        found.append(_row(term, before[key], after[key], count))
    budget: Any = files.get("budget.json")
    for kind, term in (
        (("ms", "Time as the budget counts it"), ("mb", "File as the budget counts it")) if budget else ()
    ):
        if kind in budget["costs"]:
            unit = "ms" if kind == "ms" else "MB"
            found.append(
                _row(term, budget["dense"][kind], budget["costs"][kind], lambda v, u=unit: f"{v:.3g} {u}")
            )
    timings = compared(files)
    asked = Counter(engine for one in timings for engine in one["bench"]["measures"])
    for one in timings:
        for engine, measures in one["bench"]["measures"].items():
            how = f", {_setting(one['bench'])}" if asked[engine] > 1 else ""
            found += _measured(engine, how, measures[one["bench"]["against"]], measures[one["network"]])
    return found


def times(timings: Iterable[Any]) -> list[tuple[str, str, tuple[str, ...]]]:
    """Engine, network and texts of what was timed; with size and threads where an engine was timed in several."""
    every = list(timings)
    asked = Counter(engine for one in every for engine in one["bench"]["measures"])
    rows: list[tuple[str, str, tuple[str, ...]]] = []
    for one in every:
        bench = one["bench"]
        for engine, measures in bench["measures"].items():
            how = f", {_setting(bench)}" if asked[engine] > 1 else ""
            for name, measure in measures.items():
                speed = f"{measure['speedup']:.2f}{_TIMES} ({measure['speedup_low']:.2f} to {measure['speedup_high']:.2f})"
                facts = bench["networks"][name]
                texts = (
                    f"{measure['p50']:.3g} ({measure['p10']:.3g} to {measure['p90']:.3g})",
                    "reference" if name == bench["against"] else speed,
                    count(facts["macs"]),
                    count(facts["params"]),
                    megabytes(measure["file"]),
                    megabytes(measure["memory"]) if measure["memory"] else MISSING,
                )
                rows.append((f"{engine}{how}", name, texts))
    return rows


def megabytes(value: float) -> str:
    """Bytes as a reader takes them in."""
    return f"{value / 1e6:.3g} MB"


def shapes(inputs: Sequence[Sequence[int]]) -> str:
    """The shapes of a network's inputs."""
    return ", ".join(f" {_TIMES} ".join(map(str, shape)) for shape in inputs)


def _measured(engine: str, how: str, before: Any, after: Any) -> list[tuple[str, str, str, str]]:
    found = [_row(f"Time in {engine}{how}", before["p50"], after["p50"], lambda v: f"{v:.3g} ms")]
    found.append(_row(f"File for {engine}{how}", before["file"], after["file"], megabytes))
    if before["memory"] and after["memory"]:
        found.append(_row(f"Memory in {engine}{how}", before["memory"], after["memory"], megabytes))
    return found


def _setting(bench: Any) -> str:
    threads = bench["settings"]["threads"]
    return f"input {shapes(bench['inputs'])}, {threads} thread{'s' if threads > 1 else ''}, against {bench['against']}"


def _row(term: str, before: float, after: float, text: Any) -> tuple[str, str, str, str]:
    return term, text(before), text(after), percent(after / before) if before else MISSING
