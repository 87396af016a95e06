"""A comparison on a Ray cluster of two machines, one of which is killed in the middle, beside that of one process.

Once the machines see the folder of the comparison, once each has folders of its own. Writes docs/results/cluster.json. Needs ray.

python benchmarks/reliability/cluster.py [--steps 300] [--seeds 2] [--out docs/results/cluster.json]
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from processes.cluster import RUNS, figures, two_machines
from secateur.cli import main as secateur
from secateur.runs.hardware import hardware
from secateur.runs.study import ray as on_ray

DOCS = Path(__file__).resolve().parents[2] / "docs"


def main() -> None:
    """Counts figures of the table and tensors of the networks that are the same, bit for bit."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=DOCS / "results" / "cluster.json")
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    words = ["compare", "magnitude", "adapmtl", "--density", "0.5", *RUNS]
    words += ["--steps", str(asked.steps), "--seeds", str(asked.seeds)]
    found: dict[str, Any] = {}
    os.environ["RAY_TMPDIR"] = tempfile.gettempdir()
    with tempfile.TemporaryDirectory() as folder:
        machine, straight = Path(folder) / "machine", Path(folder) / "straight"
        machine.mkdir()
        os.environ["TMPDIR"] = str(machine)
        done(secateur([*words, "--out", str(straight)]))
        for kind in ("the same folder", "folders of their own"):
            out = Path(folder) / kind
            shared = kind == "the same folder"
            write = on_ray.write_text
            if not shared:  # no machine finds the file by which it would know the folder
                setattr(on_ray, "write_text", lambda path, text: path.parent.mkdir(exist_ok=True))  # noqa: B010
            with two_machines() as machines:
                killer = machines.kill_one_in(out if shared else machine)
                done(secateur([*words, "--on", "ray", "--out", str(out)]))
                killer.join(10)
                killed = len(machines.killed_at)
            setattr(on_ray, "write_text", write)  # noqa: B010
            found[kind] = {"machines killed in the middle": killed, **same(straight, out)}
            print(kind, found[kind], flush=True)
    import ray

    made = {
        "command": shlex.join(["python", "benchmarks/reliability/cluster.py", *sys.argv[1:]]),
        "compared": shlex.join(["secateur", *words, "--on", "ray"]),
        "hardware": hardware(torch.device("cpu")),
        "versions": {"torch": torch.__version__, "ray": ray.__version__},
        "machines": found,
    }
    asked.out.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")


def done(status: int) -> None:
    """Raises RuntimeError where a command failed."""
    if status:
        raise RuntimeError(f"secateur ended with status {status}")


def same(straight: Path, out: Path) -> dict[str, int]:
    """How many figures of the table and tensors of the networks there are, and are the same."""
    pairs = zip(figures(straight), figures(out), strict=True)
    rows = [pair for one, two in pairs for pair in zip(one["figures"], two["figures"], strict=True)]
    networks = [path.parent.name for path in straight.glob("*/model.safetensors")]
    tensors = [
        torch.equal(tensor, other[name])
        for network in networks
        for other in [load_file(out / network / "model.safetensors")]
        for name, tensor in load_file(straight / network / "model.safetensors").items()
    ]
    return {
        "runs": len(networks),
        "figures": len(rows),
        "figures that are the same": sum(one == two for one, two in rows),
        "tensors": len(tensors),
        "tensors that are the same": sum(tensors),
    }


if __name__ == "__main__":
    main()
