"""What the chapter says: before and after, floors, layer by layer, times, and what nobody measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from secateur.runs.kept import benches, mark
from secateur.runs.report.deployed.facts import told
from secateur.runs.report.deployed.layers import Layer, layer_rows, layers_of, timed_engines
from secateur.runs.report.deployed.sizes import sizes, times
from secateur.runs.report.deployed.standing import Standing, before_and_after, compared, standing
from secateur.runs.report.deployed.widths import bars
from secateur.runs.report.formats import count, fixed, listing, percent
from secateur.runs.report.tables import Cell

_FILES = ("budget.json", "compact.json", "exports.json", "bench.json")
_WRONG = (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError)


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
            found = json.loads(path.read_text(encoding="utf-8"))
            files[name] = benches(found) if name == "bench.json" else found
            _chapter(standing({name: files[name]}), colours, config)
        except _WRONG as error:
            raise ValueError(
                f"{path} cannot be understood ({error!r:.200}); delete it, or make it again."
            ) from error
    return _chapter(standing(files, mark(folder)), colours, config) if files else None


def _chapter(made: Standing, colours: Mapping[str, str], config: Mapping[str, Any]) -> Chapter:
    files = made.files
    layers, engines = layers_of(files), timed_engines(files)
    shown = [layer.component for layer in layers if layer.component]
    return Chapter(
        facts=told(files),
        sizes=tuple(sizes(files)),
        floors=tuple(_floors(files.get("budget.json"), config)),
        legend=tuple((name, colours.get(name, "var(--accent)")) for name in dict.fromkeys(shown)),
        drawings=tuple(_drawings(layers, engines, colours)),
        engines=engines,
        layers=layer_rows(layers, engines),
        times=tuple(times(files.get("bench.json", ()))),
        advice=tuple(
            dict.fromkeys(
                str(said) for one in files.get("bench.json", ()) for said in one["bench"].get("advice") or ()
            )
        ),
        missing=(*made.gone, *_missing(files, layers, engines)),
    )


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


def _missing(files: Mapping[str, Any], layers: list[Layer], engines: tuple[str, ...]) -> list[str]:
    said: list[str] = []
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
    if "bench.json" not in files:
        said.append(
            "Time was not measured beside another network (secateur bench RUN --engines onnxruntime,openvino --against DENSE)."
        )
    for one in files.get("bench.json", ()):
        said += _beside(one["network"], one["bench"], files)
    measured = dict.fromkeys(e for one in files.get("bench.json", ()) for e in one["bench"]["measures"])
    if compared(files) and (left := [engine for engine in measured if engine not in engines]):
        said.append(f"Time by layer was not counted in {listing(left)}.")
    return list(dict.fromkeys(said))


def _beside(own: str, bench: Any, files: Mapping[str, Any]) -> list[str]:
    """Why a timing says nothing of before and after."""
    against = bench["against"]
    if own == against:
        return [
            "It was itself the reference of its benchmark: nothing was timed beside it that stood before it."
        ]
    if "budget.json" in files and against.startswith(f"{own} ("):
        return [
            "It was timed beside itself as it was before compact, not beside the network it was pruned from (--against)."
        ]
    before = before_and_after(files)[0].get("params")
    if before not in (None, found := bench["networks"][against]["params"]):
        return [
            f"It was timed beside {against}, of {count(found)} parameters, which is not the network that it was before, of {count(before)}: "
            "those times stand in the benchmark alone."
        ]
    return []
