"""What a training's zeros are worth in time, said when it ends."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from secateur.runs import references
from secateur.runs.arguments import Timing
from secateur.runs.folder import RunFolder
from secateur.runs.names import Trust

_LONG, _SPARSE, _ROUNDS = 30.0, 0.5, 6  # seconds of training, share of weights left, rounds
_NEEDS = ("onnx", "onnxscript", "onnxruntime", "secateur_runtime")


def time_run(
    path: Path, report: Mapping[str, Any], asked: Timing = "auto", trust: Trust | None = None
) -> list[str]:
    """Times a finished run against its dense reference in the engines ``onnxruntime`` and ``sparse``, once.

    The figures are kept beside the run, for its report, as those of ``secateur bench`` are.

    Args:
        path: The run folder.
        report: Its ``report.json``.
        asked: ``auto`` times where it is worth the time that it takes, ``always`` wherever there is a dense reference.
        trust: Whose parts may be imported; ours alone if None.

    Returns:
        Lines to print, none where nothing was timed. What cannot be timed is warned of: the training is done all the same.
    """
    dense, folder = references.reference_place(path, report), RunFolder(path)
    worth = report["density"]["overall"] < _SPARSE and report["train_seconds"] >= _LONG
    there = all(importlib.util.find_spec(module) for module in _NEEDS)
    if asked == "never" or dense is None or folder.bench.exists():
        return []
    if asked == "auto" and not (worth and there):
        return []
    from secateur.runs.deploy import bench_runs

    try:
        found = bench_runs([path], ["onnxruntime", "sparse"], against=dense, repeats=_ROUNDS, trust=trust)
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        warnings.warn(f"the network was not timed: {error}", stacklevel=2)
        return []
    (own,) = [name for name in found.networks if name != found.against]
    before, after = found.measures["onnxruntime"][found.against], found.measures["sparse"][own]
    spread = f"{after.speedup_low:.2g} to {after.speedup_high:.2g}"
    return [
        f"time   {before.p50:.3g} ms dense in ONNX Runtime, {after.p50:.3g} ms with zeros skipped (engine sparse): "
        f"{after.speedup:.2g} times as fast as dense there ({spread}), one thread",
        *found.advice,
    ]
