"""Benchmark: how fast networks really are in the engines that will run them, and why; and how fast single layers are."""

from secateur.deployment.bench.bench import bench
from secateur.deployment.bench.formats import EngineName, require_engine
from secateur.deployment.bench.machine import crowded, machine, versions
from secateur.deployment.bench.record import Bench, Facts, Measure
from secateur.deployment.bench.single import LayerEngine, LayerTime, Single, layer_ms, weights_ms
from secateur.deployment.bench.table import table

__all__ = [
    "Bench",
    "EngineName",
    "Facts",
    "LayerEngine",
    "LayerTime",
    "Measure",
    "Single",
    "bench",
    "crowded",
    "layer_ms",
    "machine",
    "require_engine",
    "table",
    "versions",
    "weights_ms",
]
