"""What a benchmark found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Facts:
    """What can be counted of a network without running an engine.

    Args:
        params: Elements of all parameters.
        macs: Multiply-accumulates of one forward pass of the example, zeros included.
        nonzero_macs: Those of nonzero weights alone.
        dead_channels: Output channels whose weights are all zero.
        uneven: Share of ``macs`` in layers with a channel count that is no multiple of 8.
        dead: Tasks whose prediction is the same whatever the input.
    """

    params: int
    macs: int
    nonzero_macs: int
    dead_channels: int
    uneven: float
    dead: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measure:
    """One network in one engine.

    Args:
        p10: Latency of one forward pass in milliseconds, 10 % quantile of all passes.
        p50: Median.
        p90: 90 % quantile.
        speedup: Median over the rounds of (median of the reference in that round) / (own median in that round).
        speedup_low: 10 % quantile of the same.
        speedup_high: 90 % quantile.
        ratio_of_medians: ``p50`` of the reference / ``p50``.
        passes: Forward passes that were timed.
        memory: Peak resident memory in bytes of a process that holds nothing but this network and its engine, the
            interpreter included; None where the system does not say.
        file: Bytes on disk.
        disturbed: Share of the time that the process waited for a core, 0 on a quiet machine; None where the system
            does not say.
        settled: The engine's threads slept before the next network was timed.
    """

    p10: float
    p50: float
    p90: float
    speedup: float
    speedup_low: float
    speedup_high: float
    ratio_of_medians: float
    passes: int
    memory: int | None
    file: int
    disturbed: float | None
    settled: bool


@dataclass(frozen=True)
class Bench:
    """All networks in all engines.

    Args:
        against: The reference; its speed-up is 1.
        networks: Name to what can be counted.
        measures: Engine to network to what was timed.
        inputs: Shape of each input.
        settings: ``threads``, ``repeats``, ``processes``, ``precision`` (of OpenVINO, or ``int8``) and what is done with the heap.
        machine: Processor, cores and system.
        versions: Of Python, secateur and the engines.
        layers: Network to what the engine ``sparse`` makes of each of its layers, where it was timed: ``name``, ``ours``
            (run by the sparse kernels), ``density`` of the weights, ``note`` (the kernel, or why it was left).
        times: Engine to network to milliseconds by layer, where it was asked for and the engine counts them; under "" what is no layer.
        advice: Sentences on what is less fast than its size promises, and what to do about it.
    """

    against: str
    networks: Mapping[str, Facts]
    measures: Mapping[str, Mapping[str, Measure]]
    inputs: list[list[int]]
    settings: Mapping[str, Any]
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    layers: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict[str, list[dict[str, Any]]])
    times: Mapping[str, Mapping[str, Mapping[str, float]]] = field(
        default_factory=dict[str, Mapping[str, Mapping[str, float]]]
    )
    advice: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As plain dicts, for JSON."""
        return asdict(self) | {"advice": list(self.advice)}
