"""Every command, killed at points where it touches files, and the same command at once.

Writes docs/results/kills.json, where verbs that are not asked for stay as they were found, and the table in docs/reliability.md.

python benchmarks/reliability/kills.py [--every N | --tries N] [--verbs train,compact] [--out docs/results/kills.json]
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from processes.commands import FEW, commands
from secateur.runs.hardware import hardware
from tiny_runs import TINY

DOCS = Path(__file__).resolve().parents[2] / "docs"
BEGIN, END = "<!-- kills: written by benchmarks/reliability/kills.py -->", "<!-- end of kills -->"


def main() -> None:
    """Counts the points tried and those after which everything left was as if the command had never been stopped."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", type=int, default=1, help="try every so many points, evenly")
    parser.add_argument(
        "--tries", type=int, default=0, help="try at most so many points of each verb, evenly"
    )
    parser.add_argument("--verbs", default="", help="such as train,compact (default: all)")
    parser.add_argument("--out", type=Path, default=DOCS / "results" / "kills.json")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    # A trace makes torch count a GPU that is not there, and the first backward pass of all starts a thread for each, which a fork cannot.
    torch.ones(1, requires_grad=True).sum().backward()
    command = shlex.join(["python", "benchmarks/reliability/kills.py", *sys.argv[1:]])
    before = json.loads(asked.out.read_text()) if asked.out.exists() else {"verbs": {}}
    verbs: dict[str, dict[str, Any]] = before["verbs"]  # those not asked for stay as they were found
    with tempfile.TemporaryDirectory() as folder:
        found = commands(Path(folder))
        for verb in asked.verbs.split(",") if asked.verbs else found:
            line = found[verb].never_stopped()
            every = -(-len(line.points) // asked.tries) if asked.tries else asked.every
            tried = range(0, len(line.points), every)
            told = [said for at in tried if (said := line.stopped(at))]
            counts = {"points": len(line.points), "tried": len(tried), "equal": len(tried) - len(told)}
            verbs[verb] = {**counts, "command": command}
            if told:
                verbs[verb]["otherwise"] = told
            print(verb, verbs[verb], flush=True)
            made = {
                "hardware": hardware(torch.device("cpu")),
                "system": f"{os.uname().sysname} {os.uname().release.split('-')[0]}",
                "versions": {"torch": torch.__version__},
                "seed": 0,
                "options": [*TINY, *FEW],
                "verbs": verbs,
            }
            asked.out.write_text(json.dumps(made, indent=1) + "\n")
    if asked.out.is_relative_to(DOCS):
        write_page(verbs)


def table(verbs: Mapping[str, Mapping[str, Any]]) -> str:
    """The rows of the page, one a verb, and their sum."""
    kinds = ("points", "tried", "equal")
    sums = {kind: sum(verb[kind] for verb in verbs.values()) for kind in kinds}
    rows = [*sorted(verbs.items()), ("all", sums)]
    lines = ["| verb | points | tried | equal |", "| --- | --- | --- | --- |"]
    lines += [f"| {name} | {' | '.join(str(found[kind]) for kind in kinds)} |" for name, found in rows]
    return "\n".join(lines) + "\n"


def write_page(verbs: Mapping[str, Mapping[str, Any]]) -> None:
    """Puts the table between its two marks."""
    page = DOCS / "reliability.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{table(verbs)}{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
