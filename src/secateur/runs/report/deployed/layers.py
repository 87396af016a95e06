"""The layers of a network before and after, from what compact, prune and bench wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from secateur.runs.report.deployed.standing import before_and_after, compared
from secateur.runs.report.formats import count

_ARROW, _NONE = "\N{RIGHTWARDS ARROW}", "\N{EN DASH}"


@dataclass
class Layer:
    """A layer by its module; what is not known, or gone, is None. ``ms`` has what it took before and after in each engine."""

    name: str
    component: str
    before: int | None = None
    after: int | None = None
    inputs: tuple[int | None, int | None] = (None, None)
    macs: tuple[int | None, int | None] = (None, None)
    ms: dict[str, tuple[float | None, float | None]] = field(
        default_factory=dict[str, tuple[float | None, float | None]]
    )


def layers_of(files: Mapping[str, Any]) -> list[Layer]:
    """In the order of the network's modules; what no layer took comes last, without a name."""
    found: dict[str, Layer] = {}
    cut, pruned = ((files.get(name) or {}).get("layers") for name in ("compact.json", "budget.json"))
    if last := cut or pruned:
        began = pruned if pruned and _went_on(files) else last
        found = _widths(began["before"], last["after"])
    for engine, (timed, networks) in _by_layer(files).items():
        before, after = networks[timed["bench"]["against"]], networks[timed["network"]]
        for name in dict.fromkeys([*(n for n in (*before, *after) if n), ""]):
            layer = found.setdefault(name, Layer(name, ""))
            layer.ms[engine] = _number(before.get(name)), _number(after.get(name))
    if (other := found.pop("", None)) is not None:
        found[""] = other
    return list(found.values())


def timed_engines(files: Mapping[str, Any]) -> tuple[str, ...]:
    """Engines that counted layers of this network and of the one before."""
    return tuple(_by_layer(files))


def _by_layer(files: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Engine to the last timing that counted layers there, and what it counted."""
    found: dict[str, tuple[Any, Any]] = {}
    for timed in compared(files):
        for engine, networks in (timed["bench"].get("times") or {}).items():
            found.setdefault(engine, (timed, networks))
    return found


def _went_on(files: Mapping[str, Any]) -> bool:
    """Whether what was compacted is the network that was pruned."""
    first, _ = before_and_after(files)
    return bool(first) and first == (files.get("budget.json") or {}).get("before")


def layer_rows(layers: list[Layer], engines: tuple[str, ...]) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    """Name, component, and in, out, multiply-adds and milliseconds before and after."""
    return tuple(
        (
            layer.name or "no layer",
            layer.component,
            (
                _pair(*layer.inputs, str),
                _pair(layer.before, layer.after, str),
                _pair(*layer.macs, count),
                *(_pair(*layer.ms.get(engine, (None, None)), lambda v: f"{v:.3g}") for engine in engines),
            ),
        )
        for layer in layers
    )


def _widths(before: Any, after: Any) -> dict[str, Layer]:
    """Weights of one module, such as the parts of an attention, are one layer: their outputs and work are added up."""
    found: dict[str, Layer] = {}
    for place, rows in enumerate((before, after)):
        for row in rows:
            weight, outputs, inputs, macs = (
                str(row["weight"]),
                int(row["outputs"]),
                int(row["inputs"]),
                int(row["macs"]),
            )
            name = weight.rpartition(".")[0] or weight
            layer = found.setdefault(name, Layer(name, str(row["component"])))
            if place == 0:
                layer.before = (layer.before or 0) + outputs
                layer.inputs, layer.macs = (inputs, None), ((layer.macs[0] or 0) + macs, None)
            else:
                layer.after = (layer.after or 0) + outputs
                layer.inputs, layer.macs = (
                    (layer.inputs[0], inputs),
                    (layer.macs[0], (layer.macs[1] or 0) + macs),
                )
    return found


def _pair(before: Any, after: Any, text: Any) -> str:
    if before is None and after is None:
        return _NONE
    if before == after:
        return text(before)
    return " ".join(
        [text(before) if before is not None else _NONE, _ARROW, text(after) if after is not None else "gone"]
    )


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
