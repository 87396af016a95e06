"""What removed channels are worth: Deeplab-ResNet34 with 70 % of its channels dead, compacted, against its dense self.

    python benchmarks/speed/compact_speed.py

Dead channels are drawn by seed; no training is needed to measure time. Writes docs/results/compact_speed.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from rich.console import Console

from secateur import bench, compact, compaction
from secateur.deployment.bench import table
from secateur.shrinking.channels import find_channels
from secateur.zoo import deeplab_resnet34

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"


@torch.no_grad()
def main() -> None:
    """Kills channels, compacts with and without rounding, times."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--share", type=float, default=0.7, help="share of the channels that are removed")
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--size", type=int, nargs=2, default=(240, 320), help="height and width")
    parser.add_argument("--repeats", type=int, default=8)
    options = parser.parse_args()
    torch.manual_seed(0)
    model = deeplab_resnet34({"seg": 13, "depth": 1}, options.width).eval()
    small_input = torch.zeros(1, 3, 64, 64)
    channels = find_channels(model, small_input)
    dead = torch.rand(channels.count, generator=torch.Generator().manual_seed(0)) < options.share
    state = dict(model.named_parameters())
    for (name, axis), ids in channels.axes.items():
        if axis == 1 and state[name].dim() > 1:
            state[name].movedim(1, 0)[(ids >= 0) & dead[ids.clamp(min=0)]] = 0
    small = compact(model, small_input)
    rounded = compact(model, small_input, round_to=16)
    networks = {"dense": model, "compact": small, "compact, round_to 16": rounded}
    found = bench(
        networks,
        torch.randn(1, 3, *options.size),
        ("onnxruntime", "openvino", "torch"),
        repeats=options.repeats,
    )
    command = f"python benchmarks/speed/compact_speed.py --share {options.share} --width {options.width} --size {options.size[0]} {options.size[1]} --repeats {options.repeats}"
    made = {"command": command, "seed": 0, **found.to_dict(), "share": options.share, "width": options.width}
    made["channels"] = {n: list(c.channels) for n, m in networks.items() if (c := compaction(m))}
    (RESULTS / "compact_speed.json").write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    Console().print(table(found))


if __name__ == "__main__":
    main()
