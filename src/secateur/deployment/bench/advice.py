"""Why a smaller network is not faster in proportion, in sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from secateur.deployment.bench.record import Facts, Measure
from secateur.measures import dead_said

_TINY = 1.0  # milliseconds
_SKIPS = "The engine sparse (secateur-runtime) skips scattered zeros; channels that are pruned whole are skipped by every engine."
_NOISY = 0.04  # share of the time without a core above which timings are not to be trusted


def advice(
    against: str,
    networks: Mapping[str, Facts],
    measures: Mapping[str, Mapping[str, Measure]],
    layers: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    crowded: str = "",
) -> tuple[str, ...]:
    """One sentence or a few for each network and engine that falls short of what its work promises, and the best of engines.

    A network falls short when its speed-up is below half of the factor by which it does less work or, for factors below
    4, below the square root of that factor. Of cores that were waited for, ``crowded`` is the reason where it is said.
    """
    why = f"{crowded}; give that many at most" if crowded else ""
    why = why or "other programs were running; measure again on a quiet machine"
    found = [f"{name}: {dead_said(own.dead)}" for name, own in networks.items() if own.dead]
    for engine, by_name in measures.items():
        for name, measure in by_name.items():
            if (measure.disturbed or 0.0) > _NOISY:
                found.append(
                    f"{name} in {engine} waited for a core {measure.disturbed:.0%} of the time: {why}."
                )
            if not measure.settled:
                found.append(f"{name} in {engine} kept a core busy after its passes; trust the others less.")
            if name != against:
                found += _shortfall(name, engine, networks[against], networks[name], measures, measure)
    for name in networks:
        if name != against:
            found += _zeros(name, against, networks, measures)
            found += _left(name, (layers or {}).get(name, ()))
    for name in networks if len(measures) > 1 else ():
        found += _best(name, against, measures) if name != against else []
    return tuple(found)


def falls_short(factor: float, speedup: float) -> bool:
    """Whether ``speedup`` is far from ``factor``, by which the work shrank."""
    return factor > 1.1 and speedup < max(factor / 2, math.sqrt(factor))


def _shortfall(
    name: str,
    engine: str,
    reference: Facts,
    own: Facts,
    measures: Mapping[str, Mapping[str, Measure]],
    measure: Measure,
) -> list[str]:
    found: list[str] = []
    factor = reference.macs / own.macs if own.macs else 1.0
    if falls_short(factor, measure.speedup):
        found.append(
            f"{name} does {factor:.1f} times less work, but is only {measure.speedup:.2g} times as fast in {engine}: "
            f"{_reason(own, reference, measure)}"
        )
        found += _elsewhere(name, engine, measures)
    return found


def _zeros(
    name: str, against: str, networks: Mapping[str, Facts], measures: Mapping[str, Mapping[str, Measure]]
) -> list[str]:
    """Zeros that the reference does not have, in the engines that make nothing of them."""
    own, reference = networks[name], networks[against]
    if not own.macs or not reference.macs:
        return []
    unused = own.macs / max(own.nonzero_macs, 1) / (reference.macs / max(reference.nonzero_macs, 1))
    factor = reference.macs / own.macs
    dense = [
        engine
        for engine, by_name in measures.items()
        if engine != "sparse" and falls_short(unused, by_name[name].speedup / factor)
    ]
    if not dense:
        return []
    dead = (
        f"{own.dead_channels} channels are wholly zero: `compact` takes them out. "
        if own.dead_channels
        else ""
    )
    return [
        f"{1 - own.nonzero_macs / own.macs:.0%} of the work of {name} is with zeros, and {', '.join(dense)} took as long for those "
        f"as for any other number. {dead}{_SKIPS if 'sparse' not in measures else ''}".strip()
    ]


def _left(name: str, layers: Sequence[Mapping[str, Any]]) -> list[str]:
    """Layers with zeros that the sparse kernels would not run faster, and what would change that."""
    left = [layer for layer in layers if not layer["ours"] and 0 < layer["density"] < 1]
    if not left:
        return []
    slowest = max(left, key=lambda layer: layer["dense"])
    return [
        f"sparse left {len(left)} of {len(layers)} layers of {name} to ONNX Runtime; the largest, {slowest['name']}, keeps "
        f"{slowest['density']:.0%} of its weights: {slowest['note']}."
    ]


def _best(name: str, against: str, measures: Mapping[str, Mapping[str, Measure]]) -> list[str]:
    """The fastest engine for the network beside the fastest for the reference."""
    own = min(measures, key=lambda engine: measures[engine][name].p50)
    reference = min(measures, key=lambda engine: measures[engine][against].p50)
    ms, before = measures[own][name].p50, measures[reference][against].p50
    return [
        f"{name} is fastest in {own}, {ms:.3g} ms; {against} is fastest in {reference}, {before:.3g} ms: {before / ms:.2g} times "
        "as long (engines were timed one after the other)."
    ]


def _reason(own: Facts, reference: Facts, measure: Measure) -> str:
    reasons: list[str] = []
    if measure.p50 < _TINY:
        reasons.append(
            f"at {measure.p50:.2g} ms the fixed cost of each operation counts, so that less work matters little."
        )
    if own.uneven > reference.uneven + 0.1:
        reasons.append(
            f"{own.uneven:.0%} of its work is in layers whose channels are no multiple of 8; "
            "`compact` with a round_to of 8 or 16 may be faster with more channels."
        )
    return (
        " ".join(reasons)
        or "memory traffic and what is not a convolution (resizing, pooling) did not shrink alike."
    )


def _elsewhere(name: str, engine: str, measures: Mapping[str, Mapping[str, Measure]]) -> list[str]:
    best = min(measures, key=lambda other: measures[other][name].p50)
    here, there = measures[engine][name], measures[best][name]
    if there.p50 > 0.8 * here.p50:
        return []
    return [
        f"{best} runs {name} in {there.p50:.3g} ms, {engine} in {here.p50:.3g} ms, and its speed-up there is {there.speedup:.2g}."
    ]
