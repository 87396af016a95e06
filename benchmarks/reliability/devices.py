"""Two processes that share every batch against one, for every packaged recipe; killed, and gone on with on another number.

Everything is trained on the built-in rooms at a twentieth of the width, twelve images a step. For each recipe: the largest
difference between the weights of two processes and of one, whether the same weights are zero, the same difference in float64, where
rounding is a billion times smaller and a fault as large as ever, the same for one process with other kernels (oneDNN switched off), and
what two processes send beside the gradients.
Writes docs/results/devices.json, where recipes that are not asked for stay as they were found, and the tables in docs/scale.md.

python benchmarks/reliability/devices.py [--recipes adapmtl,magnitude] [--killed adapmtl] [--apart adapmtl] [--time adapmtl]
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, distributed

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from devices_page import DOCS, write_page
from processes.two import ended
from secateur.cli import main as secateur
from secateur.runs import problems, recipes
from secateur.runs.hardware import hardware
from secateur.training import backward
from tiny_runs import TINY, weights_of

STEPS = 8
WORDS = [*TINY, "--batch", "12", "--data.train_count", "24", "--quiet", "--bench", "never"]
KILLED = "[{{name: processes.failing.FailsOnOne, rank: 1, how: kill, step: 5, once: {}}}]"


def main() -> None:
    """Trains and compares what is asked for, and writes it down after each recipe."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--recipes", default="", help="such as adapmtl,magnitude (default: all)")
    parser.add_argument("--killed", default="", help="recipes to kill and to go on with")
    parser.add_argument(
        "--apart", default="", help="recipes to train with a BatchNorm and a dropout for each share"
    )
    parser.add_argument(
        "--time", default="", help="recipes to time: one process on all cores, and one a core"
    )
    parser.add_argument("--out", type=Path, default=DOCS / "results" / "devices.json")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    made: dict[str, Any] = json.loads(asked.out.read_text()) if asked.out.exists() else {}
    command = shlex.join(["python", "benchmarks/reliability/devices.py", *sys.argv[1:]])
    special = {"killed": asked.killed, "apart": asked.apart, "time": asked.time}
    todo = [(kind, name) for kind, names in special.items() for name in names.split(",") if name]
    if not todo or asked.recipes:
        todo += [("recipes", name) for name in (asked.recipes.split(",") if asked.recipes else recipes())]
    does = {"recipes": compared, "killed": gone_on, "apart": compared_apart, "time": timed}
    for kind, name in todo:
        with tempfile.TemporaryDirectory() as folder:
            found = does[kind](name, Path(folder))
        made.setdefault(kind, {})[name] = {**found, "command": command}
        print(kind, name, found, flush=True)
        made |= {
            "hardware": hardware(torch.device("cpu")),
            "versions": {"torch": torch.__version__},
            "seed": 0,
        }
        made |= {"options": WORDS, "steps": STEPS}
        asked.out.write_text(json.dumps(made, indent=1) + "\n")
    if asked.out.is_relative_to(DOCS):
        write_page(made)


def compared(recipe: str, folder: Path) -> dict[str, Any]:
    """Two processes, and other kernels, against one process."""
    words = [recipe, *WORDS, "--steps", str(STEPS)]
    run(folder / "one", 1, words)
    run(folder / "kernels", 1, words, otherwise)
    run(folder / "two", 2, words, counted(folder / "sent.json"))
    for world in (1, 2):
        run(folder / f"double{world}", world, words, double)
    kernels = {f"kernels_{key}": value for key, value in differs(folder / "one", folder / "kernels").items()}
    return {
        **differs(folder / "one", folder / "two"),
        "double_largest": stored(folder / "double1", folder / "double2"),
        **kernels,
        **json.loads((folder / "sent.json").read_text()),
    }


def compared_apart(recipe: str, folder: Path) -> dict[str, Any]:
    """Two processes whose layers look at their own share alone, against one."""
    words = [recipe, *WORDS, "--steps", str(STEPS)]
    run(folder / "one", 1, words)
    run(folder / "two", 2, words, lambda _: setattr(backward, "InStep", nullcontext))
    return differs(folder / "one", folder / "two")


def gone_on(recipe: str, folder: Path) -> dict[str, Any]:
    """One of two processes killed after half of the steps; gone on with by one, two and three, against one never stopped."""
    words = [recipe, *WORDS, "--steps", str(STEPS)]
    run(folder / "straight", 1, words)
    found: dict[str, Any] = {}
    for count in (1, 2, 3):
        killed = [*words, "--callbacks", KILLED.format(folder / f"{count}.killed")]
        run(folder / f"by{count}", 2, killed, fails=True)
        assert not (folder / f"by{count}" / "report.json").exists()
        run(folder / f"by{count}", count, killed)
        found[str(count)] = differs(folder / "straight", folder / f"by{count}")
    return found


def timed(recipe: str, folder: Path) -> dict[str, Any]:
    """Seconds a step of one process on all cores, and of one process a core, at the same batch; five runs each, in turn."""
    cores, seconds = os.cpu_count() or 1, dict[str, list[float]]()
    for turn in range(5):
        for devices in (1, cores):
            out = folder / f"{devices}-{turn}"
            line = [sys.executable, "-m", "secateur", "train", recipe, *WORDS, "--steps", "60"]
            threads = {**os.environ, "OMP_NUM_THREADS": str(cores // devices)}
            subprocess.run(
                [*line, "--devices", str(devices), "--out", str(out)], env=threads, check=True, stdout=-3
            )
            report = json.loads((out / "report.json").read_text())
            seconds.setdefault(str(devices), []).append(report["train_seconds"] / 60)
    return {"seconds": seconds, "ratio": min(seconds[str(cores)]) / min(seconds["1"])}


def run(
    out: Path,
    world: int,
    words: list[str],
    before: Callable[[int], object] = lambda _: None,
    fails: bool = False,
) -> None:
    """``secateur train`` in so many processes that are forked from this one."""

    def train(rank: int) -> dict[str, Any]:
        os.dup2(os.open(out.with_name(f"{out.name}.{rank}.txt"), os.O_CREAT | os.O_WRONLY | os.O_APPEND), 1)
        os.dup2(1, 2)
        before(rank)
        raise SystemExit(secateur(["train", *words, "--devices", str(world), "--out", str(out)]))

    codes, told = ended(train, out.with_name(f"{out.name}.processes"), world, together=True)
    said = told + "".join(path.read_text() for path in sorted(out.parent.glob(f"{out.name}.*.txt")))
    assert fails or codes == dict.fromkeys(range(world), 0), f"{words[0]} on {world}: {codes} {said[-2000:]}"


def otherwise(_: int) -> None:
    """Other kernels."""
    torch.backends.mkldnn.enabled = False


def double(_: int) -> None:
    """Everything in float64: the network, and what is float32 at least elsewhere."""
    build = problems.build

    def built(kind: Any, *given: Any, **more: Any) -> Any:
        made = build(kind, *given, **more)
        if kind == "model":
            made.double().register_forward_pre_hook(
                lambda _, inputs: tuple(x.double() if isinstance(x, Tensor) else x for x in inputs)
            )
        return made

    setattr(problems, "build", built)  # noqa: B010
    setattr(Tensor, "float", Tensor.double)  # noqa: B010


def counted(path: Path) -> Callable[[int], None]:
    """Counts what is sent by Python, beside the gradients and buffers that DDP sends, a step; of the first process, to a file."""
    sent = {"messages": 0, "bytes": 0}

    def begin(rank: int) -> None:
        step = backward.Backward.step

        def counting(self: Any, stream: Any) -> Any:
            kept = {name: getattr(distributed, name) for name in ("all_reduce", "all_gather", "broadcast")}
            for name, function in kept.items():
                setattr(distributed, name, _counting(function, sent))
            try:
                return step(self, stream)
            finally:
                for name, function in kept.items():
                    setattr(distributed, name, function)
                done = self.pruning.done + 1
                if rank == 0:
                    path.write_text(json.dumps({key: round(value / done) for key, value in sent.items()}))

        setattr(backward.Backward, "step", counting)  # noqa: B010

    return begin


def _counting(function: Callable[..., Any], sent: dict[str, int]) -> Callable[..., Any]:
    def count(*given: Any, **more: Any) -> Any:
        tensors = [value for value in given if isinstance(value, torch.Tensor)]
        sent["messages"] += 1
        sent["bytes"] += sum(tensor.numel() * tensor.itemsize for tensor in tensors)
        return function(*given, **more)

    return count


def differs(one: Path, other: Path) -> dict[str, Any]:
    """The largest difference of a weight, the mean one, and how many weights are zero in one network alone."""
    a, b = (weights_of(folder) for folder in (one, other))
    apart = torch.cat([(a[n].double() - b[n].double()).abs().flatten() for n in a])
    masks = sum(int(((a[n] == 0) != (b[n] == 0)).sum()) for n in a if n.endswith("weight"))
    return {"largest": float(apart.max()), "mean": float(apart.mean()), "other_zeros": masks}


def stored(one: Path, other: Path) -> float:
    """The largest difference of what two weights files hold, masks included."""
    a, b = (load_file(folder / "model.safetensors") for folder in (one, other))
    same = all(a[name].shape == b[name].shape for name in a)
    return max(float((a[n].double() - b[n].double()).abs().max()) for n in a) if same else float("inf")


if __name__ == "__main__":
    main()
