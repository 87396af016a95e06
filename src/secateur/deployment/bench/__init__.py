"""Benchmark: how fast networks really are in the engines that will run them, and why."""

from secateur.deployment.bench.bench import EngineName, bench
from secateur.deployment.bench.record import Bench, Facts, Measure
from secateur.deployment.bench.table import table

__all__ = [
    "Bench",
    "EngineName",
    "Facts",
    "Measure",
    "bench",
    "table",
]
