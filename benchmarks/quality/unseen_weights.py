"""Weights that see padding alone: in small images the dilated heads of Deeplab-ResNet34 have many, and who keeps them.

    python benchmarks/quality/unseen_weights.py runs/steps6000 --width 0.125

Counts, for images of several sizes, the weights whose gradient is zero whatever the image, since their tap lies outside the features;
and of every finished run in the folder, whose images are of the first size, how many of the weights that are left are such. Writes
docs/results/unseen_weights.json and .md.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nyuv2_small import write
from secateur.problem import prunable
from secateur.storage import load
from secateur.zoo.deeplab_resnet34 import deeplab_resnet34

TASKS = {"seg": 13, "normal": 3, "depth": 1}
SIZES = ((60, 80), (120, 160), (240, 320))


def unseen(width: float, size: tuple[int, int]) -> dict[str, Tensor]:
    """Name of each convolution's weight to where it sees padding alone, of its shape."""
    torch.manual_seed(0)
    network = deeplab_resnet34(TASKS, width)
    for layer in network.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    sum(output.square().sum() for output in network(torch.randn(2, 3, *size)).values()).backward()
    return {
        name: (weight.grad.abs().amax((0, 1), keepdim=True) == 0).expand_as(weight)
        for name, weight in prunable(network).items()
    }


def kept(path: Path, width: float, dead: dict[str, Tensor]) -> dict[str, Any]:
    """Of a finished run: the weights that are left, and how many of them see padding alone."""
    network = deeplab_resnet34(TASKS, width)
    load(network, path / "model.safetensors")
    left = {name: weight != 0 for name, weight in prunable(network).items()}
    report = json.loads((path / "report.json").read_text(encoding="utf-8"))
    return {
        "recipe": report["name"],
        "seed": report["seed"],
        "left": sum(int(mask.sum()) for mask in left.values()),
        "unseen": sum(int((mask & dead[name]).sum()) for name, mask in left.items()),
    }


def table(sizes: list[dict[str, Any]], runs: list[dict[str, Any]]) -> str:
    """Both counts as Markdown."""
    lines = ["| images | weights | see padding alone (%) | a tenth of all is of the others (%) |", "| --- | ---: | ---: | ---: |"]  # fmt: skip
    for row in sizes:
        share = row["unseen"] / row["weights"]
        cells = [row["size"], f"{row['weights']:,}", f"{100 * share:.1f}", f"{10 / (1 - share):.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| recipe | of the weights left, see padding alone (%) | seeds |", "| --- | ---: | ---: |"]
    for recipe in dict.fromkeys(run["recipe"] for run in runs):
        own = [run for run in runs if run["recipe"] == recipe]
        share = sum(run["unseen"] for run in own) / sum(run["left"] for run in own)
        lines.append(f"| {recipe} | {100 * share:.1f} | {len(own)} |")
    return "\n".join(lines)


def main() -> None:
    """Counts, then writes the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, help="folder of finished runs")
    parser.add_argument("--width", type=float, default=0.125, help="of their network")
    options = parser.parse_args()
    masks = {size: unseen(options.width, size) for size in SIZES}
    sizes = [
        {
            "size": f"{width}x{height}",
            "weights": sum(mask.numel() for mask in found.values()),
            "unseen": sum(int(mask.sum()) for mask in found.values()),
        }
        for (height, width), found in masks.items()
    ]
    finished = sorted(path.parent for path in options.runs.glob("*/report.json"))
    runs = [kept(path, options.width, masks[SIZES[0]]) for path in finished]
    command = f"python benchmarks/quality/unseen_weights.py {options.runs} --width {options.width}"
    write("unseen_weights", {"command": command, "sizes": sizes, "runs": runs}, table(sizes, runs))


if __name__ == "__main__":
    main()
