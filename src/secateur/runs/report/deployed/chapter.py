"""What the chapter says: before and after, floors, layer by layer, times, and what nobody measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from secateur.runs.report.deployed.facts import told
from secateur.runs.report.deployed.layers import Layer, layer_rows, layers_of, timed_engines
from secateur.runs.report.deployed.widths import bars
from secateur.runs.report.formats import MISSING, count, fixed, listing, percent
from secateur.runs.report.tables import Cell

_FILES = ("budget.json", "compact.json", "exports.json", "bench.json")
_WRONG = (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError)
_TIMES = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True)
class Drawing:
    """A bar for each layer: what stands above it, the bars, and the value of the highest one."""

    caption: str
    svg: Markup
    top: str


@dataclass(frozen=True)
class Chapter:
    """What was deployed.

    Args:
        facts: Term and sentence, of each verb.
        sizes: What is measured, before, after, and what is left of it.
        floors: Task, what it might lose, what it lost.
        legend: Component and its colour, of the drawings.
        drawings: Channels by layer, and time by layer in each engine.
        engines: Whose times by layer there are.
        layers: Name, component and a text for each column of a table of layers.
        times: Engine, network and texts of what was timed.
        advice: Sentences of the benchmark.
        missing: What was not measured, in sentences.
    """

    facts: tuple[tuple[str, str], ...]
    sizes: tuple[tuple[str, str, str, str], ...]
    floors: tuple[tuple[str, str, Cell], ...]
    legend: tuple[tuple[str, str], ...]
    drawings: tuple[Drawing, ...]
    engines: tuple[str, ...]
    layers: tuple[tuple[str, str, tuple[str, ...]], ...]
    times: tuple[tuple[str, str, tuple[str, ...]], ...]
    advice: tuple[str, ...]
    missing: tuple[str, ...]


def chapter(folder: Path, colours: Mapping[str, str], config: Mapping[str, Any]) -> Chapter | None:
    """The chapter of a run; None of one that was trained and nothing else.

    Args:
        folder: Of the run.
        colours: Of each component, as CSS says them.
        config: Of the run, which says the floors of one that was pruned to a budget.

    Raises:
        ValueError: If a file cannot be understood.
    """
    files: dict[str, Any] = {}
    for name in _FILES:
        path = folder / name
        if not path.is_file():
            continue
        try:
            files[name] = json.loads(path.read_text(encoding="utf-8"))
            told({name: files[name]})
            _chapter({name: files[name]}, colours, config)
        except _WRONG as error:
            raise ValueError(
                f"{path} cannot be understood ({error!r:.200}); delete it, or make it again."
            ) from error
    return _chapter(files, colours, config) if files else None


def _chapter(files: Mapping[str, Any], colours: Mapping[str, str], config: Mapping[str, Any]) -> Chapter:
    layers = layers_of(files)
    engines = timed_engines(files)
    shown = [layer.component for layer in layers if layer.component]
    return Chapter(
        facts=told(files),
        sizes=tuple(_sizes(files)),
        floors=tuple(_floors(files.get("budget.json"), config)),
        legend=tuple((name, colours.get(name, "var(--accent)")) for name in dict.fromkeys(shown)),
        drawings=tuple(_drawings(layers, engines, colours)),
        engines=engines,
        layers=layer_rows(layers, engines),
        times=tuple(_times(files.get("bench.json"))),
        advice=tuple(map(str, files["bench.json"]["bench"].get("advice") or ()))
        if "bench.json" in files
        else (),
        missing=tuple(_missing(files, layers, engines)),
    )


def _sizes(files: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    found: list[tuple[str, str, str, str]] = []
    changed: Any = next(
        (f for n in ("compact.json", "budget.json") if (f := files.get(n)) and "before" in f), None
    )
    for key, term in (("params", "Parameters"), ("macs", "Multiply-adds")) if changed else ():
        found.append(_row(term, changed["before"][key], changed["after"][key], count))
    budget: Any = files.get("budget.json")
    for kind, term in (
        (("ms", "Time as the budget counts it"), ("mb", "File as the budget counts it")) if budget else ()
    ):
        if kind in budget["costs"]:
            unit = "ms" if kind == "ms" else "MB"
            found.append(
                _row(term, budget["dense"][kind], budget["costs"][kind], lambda v, u=unit: f"{v:.3g} {u}")
            )
    if (timed := files.get("bench.json")) is None:
        return found
    own, against = timed["network"], timed["bench"]["against"]
    if own == against:
        return found
    for engine, measures in timed["bench"]["measures"].items():
        before, after = measures[against], measures[own]
        found.append(_row(f"Time in {engine}", before["p50"], after["p50"], lambda v: f"{v:.3g} ms"))
        found.append(_row(f"File for {engine}", before["file"], after["file"], _megabytes))
        if before["memory"] and after["memory"]:
            found.append(_row(f"Memory in {engine}", before["memory"], after["memory"], _megabytes))
    return found


def _row(term: str, before: float, after: float, text: Any) -> tuple[str, str, str, str]:
    return term, text(before), text(after), percent(after / before) if before else MISSING


def _megabytes(value: float) -> str:
    return f"{value / 1e6:.3g} MB"


def _floors(budget: Any, config: Mapping[str, Any]) -> list[tuple[str, str, Cell]]:
    """Of each task; what it lost is above zero, as its floor is."""
    if not budget or not budget["lost"]:
        return []
    asked = (config.get("prune") or {}).get("floors") or {}
    rows: list[tuple[str, str, Cell]] = []
    for task, lost in budget["lost"].items():
        allowed = asked.get(task)
        text = f"{fixed(100 * lost, 1, signed=True)} %"
        if allowed is None:
            rows.append((task, "no floor", Cell(text)))
        else:
            held = lost <= allowed
            rows.append(
                (
                    task,
                    percent(allowed),
                    Cell(f"{text}, {'held' if held else 'broken'}", verdict="better" if held else "worse"),
                )
            )
    return rows


def _drawings(layers: list[Layer], engines: tuple[str, ...], colours: Mapping[str, str]) -> list[Drawing]:
    found: list[Drawing] = []
    wide = [layer for layer in layers if layer.before or layer.after]
    if wide:
        values = [(layer.before or 0, layer.after or 0) for layer in wide]
        found.append(_drawing("Output channels of each layer", wide, values, colours, lambda v: f"{v:.0f}"))
    for engine in engines:
        timed = [(layer, layer.ms[engine]) for layer in layers if engine in layer.ms]
        values = [(before or 0.0, after or 0.0) for _, (before, after) in timed]
        caption = f"Time of each layer in {engine}"
        found.append(
            _drawing(caption, [layer for layer, _ in timed], values, colours, lambda v: f"{v:.2g} ms")
        )
    return found


def _drawing(
    caption: str,
    layers: list[Layer],
    values: Sequence[tuple[float, float]],
    colours: Mapping[str, str],
    text: Any,
) -> Drawing:
    names = [layer.name or "other" for layer in layers]
    filled = [colours.get(layer.component, "var(--muted)") for layer in layers]
    return Drawing(
        caption, Markup(bars(caption, names, values, filled, text)), text(max(max(pair) for pair in values))
    )


def _times(timed: Any) -> list[tuple[str, str, tuple[str, ...]]]:
    if timed is None:
        return []
    bench = timed["bench"]
    rows: list[tuple[str, str, tuple[str, ...]]] = []
    for engine, measures in bench["measures"].items():
        for name, one in measures.items():
            speed = f"{one['speedup']:.2f}{_TIMES} ({one['speedup_low']:.2f} to {one['speedup_high']:.2f})"
            speed = "reference" if name == bench["against"] else speed
            facts = bench["networks"][name]
            memory = _megabytes(one["memory"]) if one["memory"] else MISSING
            texts = (
                f"{one['p50']:.3g} ({one['p10']:.3g} to {one['p90']:.3g})",
                speed,
                count(facts["macs"]),
                count(facts["params"]),
            )
            rows.append((engine, name, (*texts, _megabytes(one["file"]), memory)))
    return rows


def _missing(files: Mapping[str, Any], layers: list[Layer], engines: tuple[str, ...]) -> list[str]:
    said: list[str] = []
    timed = files.get("bench.json")
    if not {"budget.json", "compact.json"} & set(files):
        said.append(
            "No channels were taken out: the network was neither pruned to a budget nor compacted (secateur compact)."
        )
    elif not any(layer.after for layer in layers):
        said.append("How wide each layer was and is was not written down; compact or prune anew to see it.")
    if "budget.json" in files and not files["budget.json"]["lost"]:
        said.append("No floors were given, so what each task lost on the validation split was not measured.")
    if "exports.json" not in files:
        said.append("No file was exported from this folder (secateur export).")
    if timed is None:
        said.append(
            "Time was not measured beside another network (secateur bench RUN --engines onnxruntime,openvino --against DENSE)."
        )
        return said
    if timed["network"] == timed["bench"]["against"]:
        said.append(
            "It was itself the reference of its benchmark: nothing was timed beside it that stood before it."
        )
    elif "budget.json" in files and timed["bench"]["against"].startswith(f"{timed['network']} ("):
        said.append(
            "It was timed beside itself as it was before compact, not beside the network it was pruned from (--against)."
        )
    if left := [engine for engine in timed["bench"]["measures"] if engine not in engines]:
        said.append(f"Time by layer was not counted in {listing(left)}.")
    return said
