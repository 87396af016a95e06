"""Every command that writes, killed at every point where it touches files, and the same command at once.

python benchmarks/kills.py [--every N | --tries N] [--verbs train,compact] [--out docs/results/kills.json]
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import tempfile
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from processes.commands import SMALL, commands
from secateur.runs.hardware import hardware


def main() -> None:
    """Counts the points tried and those after which everything left was as if the command had never been stopped."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", type=int, default=1, help="try every so many points, evenly")
    parser.add_argument(
        "--tries", type=int, default=0, help="try at most so many points of each verb, evenly"
    )
    parser.add_argument("--verbs", default="", help="such as train,compact (default: all)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs/results/kills.json")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    command = shlex.join(["python", "benchmarks/kills.py", *sys.argv[1:]])
    before = json.loads(asked.out.read_text()) if asked.out.exists() else {"verbs": {}}
    verbs: dict[str, dict[str, object]] = before["verbs"]  # those not asked for stay as they were found
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
                "options": SMALL,
                "verbs": verbs,
            }
            asked.out.write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
