"""What became of a run after its training, in sentences: compacted, exported, timed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from secateur.runs.report.deployed.sizes import shapes
from secateur.runs.report.formats import count, listing, percent


def told(files: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """What was done and what came of it, in pairs of a term and a sentence.

    Args:
        files: Content of ``budget.json``, ``compact.json`` and ``exports.json``, and the timings of ``bench.json``, of those that are there.
    """
    readers: tuple[tuple[str, Callable[[Any], Iterator[tuple[str, str]]]], ...] = (
        ("budget.json", _pruned),
        ("compact.json", _compacted),
        ("exports.json", _exported),
        ("bench.json", _timed),
    )
    return tuple(pair for name, said in readers if name in files for pair in said(files[name]))


def _compacted(record: Any) -> Iterator[tuple[str, str]]:
    before, after = record["before"], record["after"]
    parts = [
        f"{count(before[key])} to {count(after[key])} {unit} ({percent(after[key] / max(1, before[key]))})"
        for key, unit in (("params", "parameters"), ("macs", "multiply-adds"))
    ]
    dead = record.get("compaction", {}).get("dead")
    yield "Compacted", f"from {listing(parts)}{f'; {listing(dead)} depends on no input' if dead else ''}"


def _pruned(record: Any) -> Iterator[tuple[str, str]]:
    costs = [
        f"{_cost(kind, record['costs'][kind])} where {_cost(kind, limit)} were asked, of {_cost(kind, record['dense'][kind])} before"
        for kind, limit in record["limits"].items()
    ]
    said = f"{listing(costs)}, as measured"
    said += "; in int8" if record.get("quantize") else ""
    said += (
        f", with the heads of {listing(record['keep_float'])} in float" if record.get("keep_float") else ""
    )
    said += f". {record['short']}" if record.get("short") else ""
    yield "Pruned to a budget", said


def _cost(kind: str, value: float) -> str:
    names = {"ms": "ms", "mb": "MB", "macs": "multiply-adds", "params": "parameters"}
    return f"{value:.4g} {names[kind]}" if kind in ("ms", "mb") else f"{count(value)} {names[kind]}"


def _exported(record: Any) -> Iterator[tuple[str, str]]:
    for name, made in record.items():
        tasks = f", {listing(made['tasks'])} alone" if made["tasks"] else ""
        rounded = made.get("weights") == "sparse_float16"
        said = f"it predicts {'nearly ' if rounded else ''}what the network does"
        said += ", whose weights it holds rounded to float16" if rounded else ""
        if made.get("dead"):
            said += f", the same of {listing(made['dead'])} whatever the input"
        if errors := made.get("errors"):
            off = listing([f"{task} {percent(error)}" for task, error in errors.items()])
            said = f"in int8, off by at most {off} of the largest value"
            said += f", with {listing(made['float'])} in float" if made.get("float") else ""
            said += ", its other weights rounded to float16" if rounded else ""
        yield "Exported", f"{name} for {made['format']}, {made['bytes'] / 1e6:.2f} MB{tasks}; {said}"


def _timed(record: Any) -> Iterator[tuple[str, str]]:
    for one in record:
        name, bench = one["network"], one["bench"]
        against, threads = bench["against"], bench["settings"]["threads"]
        where = f"{threads} thread{'s' if threads > 1 else ''}, input {shapes(bench['inputs'])}, {bench['machine'].get('processor', 'this machine')}"
        for engine, measures in bench["measures"].items():
            own, other = measures[name], measures[against]
            times = f"{own['p50']:.3g} ms against {other['p50']:.3g} ms of {against}"
            span = (
                f"{own['speedup']:.2f} times as fast ({own['speedup_low']:.2f} to {own['speedup_high']:.2f})"
            )
            dead = bench["networks"][name].get("dead")
            said = f"; it is dead in {listing(dead)}: the same prediction whatever the input" if dead else ""
            yield f"Timed in {engine}", f"{times}, {span}; {where}{said}"
