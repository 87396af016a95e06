"""What pacs.py shows of its runs: the tables and the figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nyuv2_small import spread
from secateur.measures import corrected, p_value, stat

if TYPE_CHECKING:
    from pacs import Arm

DOMAINS = ("art_painting", "cartoon", "photo", "sketch")


def mean(accuracies: Mapping[str, float]) -> float:
    """Over the domains, in percent."""
    return 100 * sum(accuracies.values()) / len(accuracies)


def over_seeds(values: list[float]) -> str:
    """Mean and sample standard deviation; of one seed, which has none, what it is."""
    return spread(values, 1) if len(values) > 1 else f"{values[0]:.1f}"


def guess(root: Path) -> dict[str, float]:
    """Test accuracy of the class that each domain has most of in training, whatever the image shows."""
    found: dict[str, float] = {}
    for domain in DOMAINS:
        train, test = (np.load(root / f"{domain}_{split}.npz")["label"] for split in ("train", "test"))
        found[domain] = float((test == np.bincount(train).argmax()).mean())
    return found


def table(rows: Mapping[str, Any], guessed: Mapping[str, float]) -> str:
    """Test accuracy against task-specific parameters, and that of a :func:`guess`, as Markdown."""
    head = ["network", "own parameters a task", "all parameters", "MACs", "accuracy (%)", *DOMAINS]
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    for name, row in rows.items():
        runs = row["runs"]
        cells = [name, f"{row['own'] / 1e3:.1f} k", f"{runs[0]['params']['nonzero'] / 1e3:.0f} k"]
        cells += [f"{runs[0]['macs']['sparse'] / 1e6:.1f} M", over_seeds([mean(r["test"]) for r in runs])]
        cells += [over_seeds([100 * r["test"][d] for r in runs]) for d in DOMAINS]
        lines.append("| " + " | ".join(cells) + " |")
    cells = ["always the most frequent class", "", "", "", f"{mean(guessed):.1f}"]
    cells += [f"{100 * guessed[domain]:.1f}" for domain in DOMAINS]
    return "\n".join([*lines, "| " + " | ".join(cells) + " |"])


def budgets(rows: Mapping[str, Any], arms: Sequence[Arm], tested: bool) -> str:
    """Separate bottoms beside the shared bottoms of the most nearly equal task-specific parameters, as Markdown.

    ``tested`` adds p values of paired t-tests over the seeds, each as it is and corrected for how many pairs there are.
    """
    head = ["separate bottom", "own", "accuracy (%)", "shared bottom", "own", "accuracy (%)", "difference"]
    rule = "| --- | ---: | ---: | --- | ---: | ---: | ---: |"
    lines: list[str] = []
    tests = dict[str, float | None]()
    for below, above in pairs(arms):
        cells: list[str] = []
        found = [{r["seed"]: mean(r["test"]) for r in rows[arm.name]["runs"]} for arm in (below, above)]
        for arm, values in zip((below, above), found, strict=True):
            cells += [arm.split or "heads alone", f"{arm.own / 1e3:.1f} k", over_seeds([*values.values()])]
        apart = stat(found[0][seed] - found[1][seed] for seed in found[0])
        margin = "" if apart.margin is None else f" ± {apart.margin:.1f}"
        lines.append("| " + " | ".join([*cells, f"{apart.mean:+.1f}{margin}"]) + " |")
        tests[below.name] = p_value(*found)
    if tested:
        head, rule = [*head, "p", "p (Holm)"], f"{rule} ---: | ---: |"
        told = [
            " | ".join("needs two seeds" if p is None else f"{p:.3f}" for p in both)
            for both in zip(tests.values(), corrected(tests).values(), strict=True)
        ]
        lines = [f"{line} {p} |" for line, p in zip(lines, told, strict=True)]
    return "\n".join(["| " + " | ".join(head) + " |", rule, *lines])


def pairs(arms: Sequence[Arm]) -> list[tuple[Arm, Arm]]:
    """Each separate bottom with the shared bottom that is nearest in task-specific parameters."""
    shared = [arm for arm in arms if arm.pattern == "shared_bottom"]
    separate = [arm for arm in arms if arm.pattern == "separate_bottom"]
    return [(below, min(shared, key=lambda arm: abs(arm.own - below.own))) for below in separate]


def figure(rows: Mapping[str, Any], arms: Sequence[Arm], title: str, path: Path) -> None:
    """Accuracy, mean and by domain, against the share of parameters that are a task's own."""
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 5, figsize=(15, 3.6), layout="constrained", sharex=True)
    whole = next(arm.own for arm in arms if arm.pattern == "independent")
    for panel, domain in zip(panels, (None, *DOMAINS), strict=True):
        for pattern, mark in (("separate_bottom", "o"), ("shared_bottom", "s"), ("independent", "*")):
            here = [rows[arm.name] for arm in arms if arm.pattern == pattern]
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
        panel.set(title=domain or f"{title}: mean of the domains", xlabel="own share of the backbone")
        panel.set_xscale("symlog", linthresh=0.01)
        panel.set_xlim(-0.001, 1.3)
    panels[0].set_ylabel("test accuracy (%)")
    panels[0].legend()
    figure.savefig(path, metadata={"Date": None})
