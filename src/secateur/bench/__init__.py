"""Benchmark: how fast networks really are in the engines that will run them, and why."""

from secateur.bench.bench import bench
from secateur.bench.record import Bench, Facts, Measure
from secateur.bench.table import table

__all__ = ["Bench", "Facts", "Measure", "bench", "table"]
