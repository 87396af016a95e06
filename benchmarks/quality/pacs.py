"""PACS from scratch: which blocks four visual domains should share, at what cost in task-specific parameters, three seeds.

    python benchmarks/quality/pacs.py --root data/pacs_64 --out runs/pacs

For each backbone: the learning rate at which full sharing has the best validation accuracy (seed 0); with it separate bottoms
and shared bottoms at every split and independent networks; then the pattern with the best validation accuracy pruned to 90 %
with AdapMTL and DiSparse. Trains what is missing (about a minute a run on one core), then writes
docs/results/pacs_{backbone}.json, .md and .svg. Finished runs are not trained again, nor is what these files hold already; take
a row out of the .json to have it measured anew.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nyuv2_small import RESULTS, SEEDS, arguments, spread, write
from secateur.measures.seeds import stat
from secateur.zoo.blocks import blocks
from secateur.zoo.sharing import own_parameters, split_at

DOMAINS = ("art_painting", "cartoon", "photo", "sketch")
RATES = (0.001, 0.003, 0.01)
PRUNED = ("adapmtl", "disparse")


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
        parts = (self.recipe, self.backbone, self.pattern, self.split, f"lr{rate}", f"s{seed}")
        out = options.out / "-".join(filter(None, parts))
        command = ["train", self.recipe, "--data", "domains", "--data.root", options.root, "--batch", "16"]
        command += ["--steps", str(setting.steps), "--validate_every", str(setting.steps), "--lr", str(rate)]
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


def arms(backbone: str) -> list[Arm]:
    """Independent networks, only heads apart, and both patterns at every split."""
    splits = SETTINGS[backbone].splits
    found = [Arm(backbone, "independent"), Arm(backbone, "shared_bottom")]
    found += [Arm(backbone, "separate_bottom", split) for split in splits]
    return found + [Arm(backbone, "shared_bottom", split) for split in reversed(splits)]


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


def mean(accuracies: dict[str, float]) -> float:
    """Over the domains, in percent."""
    return 100 * sum(accuracies.values()) / len(accuracies)


def validation(runs: Iterable[dict[str, Any]]) -> float:
    """What is chosen by; the test split plays no part."""
    return sum(mean(run["val"]) for run in runs)


def table(rows: dict[str, Any]) -> str:
    """Test accuracy against task-specific parameters, as Markdown."""
    head = ["network", "own parameters a task", "all parameters", "MACs", "accuracy (%)", *DOMAINS]
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    for name, row in rows.items():
        runs = row["runs"]
        cells = [name, f"{row['own'] / 1e3:.1f} k", f"{runs[0]['params']['nonzero'] / 1e3:.0f} k"]
        cells += [f"{runs[0]['macs']['sparse'] / 1e6:.1f} M", spread([mean(r["test"]) for r in runs], 1)]
        cells += [spread([100 * r["test"][d] for r in runs], 1) for d in DOMAINS]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def budgets(rows: dict[str, Any], backbone: str) -> str:
    """Separate bottoms beside the shared bottoms of the most nearly equal task-specific parameters, as Markdown."""
    head = ["separate bottom", "own", "accuracy (%)", "shared bottom", "own", "accuracy (%)", "difference"]
    lines = ["| " + " | ".join(head) + " |", "| --- | ---: | ---: | --- | ---: | ---: | ---: |"]
    shared = [arm for arm in arms(backbone) if arm.pattern == "shared_bottom"]
    for below in (arm for arm in arms(backbone) if arm.pattern == "separate_bottom"):
        above = min(shared, key=lambda arm: abs(arm.own - below.own))
        cells: list[str] = []
        found = [[mean(run["test"]) for run in rows[arm.name]["runs"]] for arm in (below, above)]
        for arm, values in zip((below, above), found, strict=True):
            cells += [arm.split or "heads alone", f"{arm.own / 1e3:.1f} k", spread(values, 1)]
        apart = stat([a - b for a, b in zip(*found, strict=True)])
        lines.append("| " + " | ".join([*cells, f"{apart.mean:+.1f} ± {apart.margin:.1f}"]) + " |")
    return "\n".join(lines)


def figure(rows: dict[str, Any], backbone: str, path: Path) -> None:
    """Accuracy, mean and by domain, against the share of parameters that are a task's own."""
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 5, figsize=(15, 3.6), layout="constrained", sharex=True)
    whole = Arm(backbone, "independent").own
    for panel, domain in zip(panels, (None, *DOMAINS), strict=True):
        for pattern, mark in (("separate_bottom", "o"), ("shared_bottom", "s"), ("independent", "*")):
            here = [rows[arm.name] for arm in arms(backbone) if arm.pattern == pattern]
            found = [
                (row["own"] / whole, [100 * r["test"][domain] if domain else mean(r["test"]) for r in row["runs"]])
                for row in sorted(here, key=lambda row: row["own"])
            ]  # fmt: skip
            middle = [sum(values) / len(values) for _, values in found]
            low = [m - min(values) for m, (_, values) in zip(middle, found, strict=True)]
            high = [max(values) - m for m, (_, values) in zip(middle, found, strict=True)]
            label = pattern.replace("_", " ")
            panel.errorbar(
                [x for x, _ in found], middle, [low, high], marker=mark, label=label, capsize=2, lw=1
            )
        panel.set(title=domain or f"{backbone}: mean of the domains", xlabel="own share of the backbone")
        panel.set_xscale("symlog", linthresh=0.01)
        panel.set_xlim(-0.001, 1.3)
    panels[0].set_ylabel("test accuracy (%)")
    panels[0].legend()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Trains, then writes the figures."""
    parser = arguments(__doc__, "runs/pacs", "PACS")
    parser.add_argument("--backbones", nargs="+", choices=tuple(SETTINGS), default=tuple(SETTINGS), help="which")  # fmt: skip
    options = parser.parse_args()
    for backbone in options.backbones:
        measure(backbone, options)


def measure(backbone: str, options: argparse.Namespace) -> None:
    """All of one backbone."""
    path = RESULTS / f"pacs_{backbone}.json"
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    rates, rows = kept.get("validation_of_rates", {}), kept.get("rows", {})
    with ThreadPoolExecutor(options.workers) as pool:

        def run(wanted: list[Arm], rate: float) -> None:
            missing = [arm for arm in wanted if arm.name not in rows]
            jobs = [(arm, seed) for seed in SEEDS for arm in missing]
            found = list(pool.map(lambda job: job[0].train(options, rate, job[1]), jobs))
            for n, arm in enumerate(missing):
                rows[arm.name] = {"recipe": arm.recipe, "own": arm.own, "runs": found[n :: len(missing)]}

        if not rates:
            tried = pool.map(
                lambda rate: Arm(backbone, "shared_bottom").train(options, rate, SEEDS[0]), RATES
            )
            rates = {str(rate): mean(run["val"]) for rate, run in zip(RATES, tried, strict=True)}
        rate = float(max(rates, key=lambda rate: rates[rate]))
        run(arms(backbone), rate)
        sharing = [arm for arm in arms(backbone) if arm.pattern != "independent"]
        best = max(sharing, key=lambda arm: validation(rows[arm.name]["runs"]))
        run([Arm(backbone, best.pattern, best.split, recipe) for recipe in PRUNED], rate)
    write(
        f"pacs_{backbone}",
        {"validation_of_rates": rates, "rows": rows},
        f"{table(rows)}\n\n{budgets(rows, backbone)}",
    )
    figure(rows, backbone, RESULTS / f"pacs_{backbone}.svg")


if __name__ == "__main__":
    main()
