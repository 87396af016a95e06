"""What pacs.py trains: patterns of sharing on a backbone, and how one of them is trained and read."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pacs_tables import DOMAINS
from secateur.zoo.blocks import blocks
from secateur.zoo.sharing import own_parameters, split_at

PATTERNS = ("separate_bottom", "shared_bottom")


@dataclass(frozen=True)
class Setting:
    """How a backbone is trained, and where it is split: before each of these blocks."""

    width: float
    steps: int
    precision: str  # what is faster on the processor at hand
    splits: tuple[str, ...]


SETTINGS = {
    "resnet18": Setting(
        0.25, 600, "bf16-mixed", ("layer1_0", "layer1_1", "layer2_0", "layer2_1", "layer3_0", "layer3_1", "layer4_0", "layer4_1")
    ),  # every block
    "mobilenet_v2": Setting(0.5, 300, "32-true", ("block2", "block4", "block7", "block14")),  # each resolution
}  # fmt: skip


@dataclass(frozen=True)
class Arm:
    """What is trained with every seed."""

    backbone: str
    pattern: str
    split: str = ""
    recipe: str = "dense"

    @property
    def name(self) -> str:
        """In the table."""
        place = "/".join(filter(None, (self.backbone, self.pattern, self.split)))
        return place if self.recipe == "dense" else f"{place}, {self.recipe} at 90 %"

    @property
    def own(self) -> int:
        """Task-specific parameters of one task, without its head."""
        chain, _ = blocks(self.backbone, SETTINGS[self.backbone].width)
        below = split_at(chain, self.split) if self.split else len(chain)
        side = "top" if self.pattern == "shared_bottom" else "bottom"
        return own_parameters(chain, below, side, "shared")

    def train(self, options: argparse.Namespace, rate: float, seed: int) -> dict[str, Any]:
        """One run, on one thread, and what :func:`read` reads of it; does not train again what is finished."""
        setting = SETTINGS[self.backbone]
        steps = options.steps or setting.steps
        length = "" if steps == setting.steps else f"steps{steps}"
        parts = (self.recipe, self.backbone, self.pattern, self.split, f"lr{rate}", length, f"s{seed}")
        out = options.out / "-".join(filter(None, parts))
        command = ["train", self.recipe, "--data", "domains", "--data.root", options.root, "--batch", "16"]
        command += ["--steps", str(steps), "--validate_every", str(steps), "--lr", str(rate)]
        command += ["--model", self.pattern, "--model.backbone", self.backbone, "--model.width", str(setting.width)]  # fmt: skip
        command += ["--model.split", self.split] if self.split else []
        command += [] if self.recipe == "dense" else ["--method.density", "0.1"]
        command += ["--precision", setting.precision, "--seed", str(seed), "--out", str(out)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run(
            [sys.executable, "-m", "secateur", *command],
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return read(out)


def arms(backbone: str, chosen: Iterable[str] | None = None) -> list[Arm]:
    """Independent networks, only heads apart, and the patterns at the splits that were chosen: both at every split by default."""
    splits = SETTINGS[backbone].splits
    wanted = places(backbone) if chosen is None else {name for name in chosen if "/" in name}
    wanted |= {f"{pattern}/{name}" for name in chosen or () for pattern in PATTERNS if "/" not in name}
    found = [Arm(backbone, PATTERNS[0], split) for split in splits]
    found += [Arm(backbone, PATTERNS[1], split) for split in reversed(splits)]
    found = [arm for arm in found if f"{arm.pattern}/{arm.split}" in wanted]
    return [Arm(backbone, "independent"), Arm(backbone, "shared_bottom"), *found]


def places(backbone: str) -> set[str]:
    """Each pattern at each split."""
    return {f"{pattern}/{split}" for pattern in PATTERNS for split in SETTINGS[backbone].splits}


def read(path: Path) -> dict[str, Any]:
    """Test and validation accuracy of a run and how it came about."""
    report = json.loads((path / "report.json").read_text(encoding="utf-8"))
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    val = [row["val"] for row in rows if "val" in row][-1]
    about = {
        k: report[k] for k in ("command", "seed", "hardware", "versions", "train_seconds", "params", "macs")
    }
    accuracy = {
        split: {d: found[d]["accuracy"] for d in DOMAINS}
        for split, found in (("test", report["tasks"]), ("val", val))
    }
    return {**accuracy, "density": report["density"]["components"], **about}
