"""PACS from scratch: which blocks four visual domains should share, at what cost in task-specific parameters, three seeds.

    python benchmarks/pacs.py --root data/pacs_64 --out runs/pacs

For each backbone: separate bottoms and shared bottoms at every split, independent networks; then the pattern with the best
validation accuracy pruned to 90 % with AdapMTL and DiSparse. Trains what is missing (about a minute a run on one core), then
writes docs/results/pacs_{backbone}.json, .md and .svg. Finished runs are not trained again, nor is
what these files hold already; take a row out of the .json to have it measured anew.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from nyuv2_small import RESULTS, SEEDS, arguments, spread, write
from secateur.zoo.blocks import blocks
from secateur.zoo.sharing import own_parameters, split_at

DOMAINS = ("art_painting", "cartoon", "photo", "sketch")
SMALL = ["--batch", "16", "--steps", "300", "--validate_every", "300", "--model.width", "0.25"]
PRECISION = {"resnet18": "bf16-mixed", "mobilenet_v2": "32-true"}  # what is faster on the processor at hand
SPLITS = {  # of separate bottoms, of shared bottoms
    "resnet18": (["layer1", "layer2", "layer3", "layer4"], ["layer4_1", "layer4", "layer3"]),
    "mobilenet_v2": (["block2", "block7", "block14"], ["block17", "block14"]),
}
Arm = tuple[str, str, str]  # backbone, pattern, split
PRUNED = ("adapmtl", "disparse")


def arms(backbone: str) -> list[Arm]:
    """Independent networks, only heads apart, and both patterns at every split."""
    separate, shared = SPLITS[backbone]
    found = [(backbone, "independent", ""), (backbone, "shared_bottom", "")]
    found += [(backbone, "separate_bottom", split) for split in separate]
    return found + [(backbone, "shared_bottom", split) for split in shared]


def train(root: str, out: Path, recipe: str, arm: Arm, seed: int) -> None:
    """One run, on one thread; returns at once if it is finished."""
    backbone, pattern, split = arm
    command = ["train", recipe, "--data", "domains", "--data.root", root, *SMALL]
    command += ["--model", pattern, "--model.backbone", backbone, "--precision", PRECISION[backbone]]
    command += ["--model.split", split] if split else []
    command += [] if recipe == "dense" else ["--method.density", "0.1"]
    command += ["--seed", str(seed), "--out", str(folder(out, recipe, arm, seed))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, "-m", "secateur", *command], env=environment, check=True, stdout=subprocess.DEVNULL
    )


def folder(out: Path, recipe: str, arm: Arm, seed: int) -> Path:
    """Of one run."""
    return out / "-".join([recipe, *filter(None, arm), f"s{seed}"])


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


def own(arm: Arm) -> int:
    """Task-specific parameters of one task, without its head."""
    backbone, pattern, split = arm
    chain, _ = blocks(backbone, 0.25)
    if pattern == "independent":
        return own_parameters(chain, len(chain), "bottom", "shared")
    below = split_at(chain, split) if split else len(chain)
    return own_parameters(chain, below, "bottom" if pattern == "separate_bottom" else "top", "shared")


def mean(accuracies: dict[str, float]) -> float:
    """Over the domains, in percent."""
    return 100 * sum(accuracies.values()) / len(accuracies)


def best(found: dict[str, Any], backbone: str) -> Arm:
    """The sharing pattern with the highest validation accuracy; the test split plays no part."""

    def score(arm: Arm) -> float:
        return sum(mean(run["val"]) for run in found["/".join(arm)]["runs"])

    return max((arm for arm in arms(backbone) if arm[1] != "independent"), key=score)


def table(found: dict[str, Any]) -> str:
    """Test accuracy against task-specific parameters, as Markdown."""
    head = ["network", "own parameters a task", "all parameters", "MACs", "accuracy (%)", *DOMAINS]
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    for name, row in found.items():
        runs = row["runs"]
        cells = [name, f"{row['own'] / 1e3:.1f} k", f"{runs[0]['params']['nonzero'] / 1e3:.0f} k"]
        cells += [f"{runs[0]['macs']['sparse'] / 1e6:.1f} M", spread([mean(r["test"]) for r in runs], 1)]
        cells += [spread([100 * r["test"][d] for r in runs], 1) for d in DOMAINS]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def figure(found: dict[str, Any], backbone: str, path: Path) -> None:
    """Accuracy against the share of parameters that are a task's own."""
    from matplotlib import pyplot

    figure, panel = pyplot.subplots(figsize=(5.5, 3.8), layout="constrained")
    whole = own((backbone, "independent", ""))
    for pattern, mark in (("separate_bottom", "o"), ("shared_bottom", "s"), ("independent", "*")):
        rows = [(row["own"] / whole, [mean(r["test"]) for r in row["runs"]]) for name, row in found.items() if name.startswith(f"{backbone}/{pattern}") and row["recipe"] == "dense"]  # fmt: skip
        rows.sort()
        middle = [sum(values) / len(values) for _, values in rows]
        low = [m - min(values) for m, (_, values) in zip(middle, rows, strict=True)]
        high = [max(values) - m for m, (_, values) in zip(middle, rows, strict=True)]
        label = pattern.replace("_", " ")
        panel.errorbar([x for x, _ in rows], middle, [low, high], marker=mark, label=label)
    panel.set(title=backbone, xlabel="own share of the backbone's parameters")
    panel.set_ylabel("test accuracy, mean of domains (%)")
    panel.set_xscale("symlog", linthresh=0.01)
    panel.set_xlim(-0.001, 1.3)
    panel.legend()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Trains, then writes the figures."""
    parser = arguments(__doc__, "runs/pacs", "PACS")
    parser.add_argument("--backbones", nargs="+", choices=tuple(SPLITS), default=tuple(SPLITS), help="which")
    options = parser.parse_args()

    for backbone in options.backbones:
        path = RESULTS / f"pacs_{backbone}.json"
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        run(found, {"/".join(arm): ("dense", arm) for arm in arms(backbone)}, options)
        chosen = best(found, backbone)
        run(found, {f"{'/'.join(chosen)}, {r} at 90 %": (r, chosen) for r in PRUNED}, options)
        write(f"pacs_{backbone}", found, table(found))
        figure(found, backbone, RESULTS / f"pacs_{backbone}.svg")


def run(found: dict[str, Any], wanted: dict[str, tuple[str, Arm]], options: argparse.Namespace) -> None:
    """Trains what is not in ``found`` yet, and puts it there."""
    missing = {name: what for name, what in wanted.items() if name not in found}
    jobs = [(*what, seed) for seed in SEEDS for what in missing.values()]
    with ThreadPoolExecutor(options.workers) as pool:
        list(pool.map(lambda job: train(options.root, options.out, *job), jobs))
    for name, (recipe, arm) in missing.items():
        runs = [read(folder(options.out, recipe, arm, seed)) for seed in SEEDS]
        found[name] = {"recipe": recipe, "own": own(arm), "runs": runs}


if __name__ == "__main__":
    main()
