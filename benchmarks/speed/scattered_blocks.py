"""Blocks of outputs that share their zeros and no longer lie beside each other: what it is worth that the runtime finds them.

    python benchmarks/speed/scattered_blocks.py [--seconds N]

Deeplab-ResNet34, 240x320, one thread, 90 % zeros in 4x1 blocks by chance: milliseconds that the runtime's cost model expects where
outputs are shuffled or cut out, as they stand (its option `order`) and brought together; and of the network as `compact` leaves it,
2 % of its channels dead by chance, milliseconds of the processor in turns: before anything was removed, then brought together and as
outputs stand. Writes docs/results/scattered_blocks.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import secateur_runtime
from permuted_blocks import HEADS, RESULTS, Layer, expected, random
from secateur import compact, export
from secateur.deployment.bench.machine import machine, versions
from secateur.shrinking.channels import find_channels
from secateur.zoo import deeplab_resnet34


def modelled(network: list[Layer]) -> dict[str, float]:
    """Milliseconds that the cost model expects of a whole network."""
    found = [[expected(*layer, together) for layer in network] for together in (False, True)]
    return {"as they stand": sum(found[0]), "brought together": sum(found[1])}


@torch.no_grad()
def compacted(share: float, folder: Path) -> dict[str, Path]:
    """Files of a 4x1 network of 90 % zeros, before and after `compact` has removed a share of its channels."""
    torch.manual_seed(0)
    model = deeplab_resnet34(HEADS).eval()
    chance = torch.Generator().manual_seed(0)
    for layer in [m for m in model.modules() if isinstance(m, nn.Conv2d)][1:]:
        if layer.out_channels in HEADS.values():  # what the last layers do not read would be removed too
            continue
        kept = torch.rand(-(-len(layer.weight) // 4), *layer.weight.shape[1:], generator=chance) < 0.1
        layer.weight *= kept.repeat_interleave(4, 0)[: len(layer.weight)]
    example = torch.zeros(1, 3, 64, 64)
    channels = find_channels(model, example)
    made = {"whole": export(model, torch.zeros(1, 3, 240, 320), folder / "whole.onnx", dynamic=False)}
    dead = torch.rand(channels.count, generator=chance) < share
    state: dict[str, Tensor] = dict(model.named_parameters())
    for (name, axis), ids in channels.axes.items():
        if axis == 1 and state[name].dim() > 1:
            state[name].movedim(1, 0)[(ids >= 0) & dead[ids.clamp(min=0)]] = 0
    small = compact(model, example)
    made["compacted"] = export(small, torch.zeros(1, 3, 240, 320), folder / "compacted.onnx", dynamic=False)
    return made


def in_turns(files: dict[str, Path], seconds: float) -> dict[str, Any]:
    """Milliseconds of the processor of a run, of opening the session, and what was chosen."""
    ways = {
        "whole": ("whole", {}),
        "compacted, brought together": ("compacted", {}),
        "compacted, as they stand": ("compacted", {"order": 1}),
    }
    x = np.random.default_rng(0).standard_normal((1, 3, 240, 320)).astype(np.float32)
    sessions, times = {}, {name: [] for name in ways}
    opened: dict[str, float] = {}
    for name, (file, options) in ways.items():
        start = time.process_time()
        sessions[name] = secateur_runtime.session(files[file], threads=1, options=options, strict=True)
        opened[name] = (time.process_time() - start) * 1e3
    feeds = {sessions["whole"].get_inputs()[0].name: x}
    for session in sessions.values():
        session.run(None, feeds)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times["whole"]) < 7:
        for name in np.random.default_rng().permutation(list(ways)):
            start = time.process_time_ns()
            sessions[name].run(None, feeds)
            times[name].append((time.process_time_ns() - start) / 1e6)
    found: dict[str, Any] = {}
    for name, session in sessions.items():
        notes = [layer.note for layer in secateur_runtime.report(session).layers if layer.ours]
        found[name] = {
            "ms": float(np.quantile(times[name], 0.25)),
            "times as long as whole": statistics.median(a / b for a, b in zip(times[name], times["whole"], strict=True)),
            "ms to open": opened[name],
            "layers ours": len(notes),
            "of them in 4x1": sum(" 4x1 " in note for note in notes),
            "brought together": sum("brought together" in note for note in notes),
        }  # fmt: skip
    return found


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=30, help="of the measurement")
    given = parser.parse_args()
    cuts = {"shuffled": None, "2% of outputs cut": 0.02, "10% of outputs cut": 0.1}
    results: dict[str, Any] = {
        "command": f"python benchmarks/speed/scattered_blocks.py --seconds {given.seconds:g}",
        "machine": machine(),
        "versions": versions(),
        "expected ms": {name: modelled(random(0.1, 4, cut)) for name, cut in cuts.items()},
    }
    with tempfile.TemporaryDirectory() as folder:
        results["compacted"] = in_turns(compacted(0.02, Path(folder)), given.seconds)
    for name in ("expected ms", "compacted"):
        print(json.dumps(results[name], indent=1))
    (RESULTS / "scattered_blocks.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
