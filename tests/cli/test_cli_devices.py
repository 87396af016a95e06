"""``secateur train --devices``: one run, whoever started the processes and however many they are."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch
import yaml

from processes.forked import Forked
from processes.two import ended
from secateur.cli import main
from tiny_runs import LITTLE, TINY, train, weights_of

pytestmark = pytest.mark.forks
RECIPES = [
    "adapmtl",
    *(
        pytest.param(r, marks=pytest.mark.slow) for r in ("less_is_more", "disparse", "magnitude")
    ),  # all of them: benchmarks/reliability/devices.py
]


def in_processes(folder: Path, world: int, *words: str) -> tuple[dict[int, int], list[str]]:
    """Runs ``secateur train`` in ``world`` processes that are there already, as torchrun starts them; codes, and what each said."""

    def run(rank: int) -> dict[str, int]:
        said = os.open(folder / f"{rank}.said", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(said, 1)
        os.dup2(said, 2)
        with open(1, "w", closefd=False) as out:
            sys.stdout = sys.stderr = out
            raise SystemExit(main(["train", *words, "--devices", str(world)]))

    folder.mkdir(exist_ok=True)
    codes, traces = ended(run, folder, world, together=True)
    assert not traces, traces
    return codes, [(folder / f"{rank}.said").read_text() for rank in range(world)]


def same(one: Path, other: Path) -> bool:
    """Whether two networks are the same to rounding, by which the last weight under a threshold and the first above may swap."""
    a, b = (weights_of(folder) for folder in (one, other))
    apart = torch.cat([(a[n].double() - b[n].double()).abs().flatten() for n in a])
    swapped = sum(int(((a[n] == 0) != (b[n] == 0)).sum()) for n in a)
    return float(apart.mean()) < 1e-5 and swapped <= 8


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("recipe", RECIPES)
def test_one_run_on_any_number_of_devices(recipe: str, tmp_path: Path) -> None:
    words = [recipe, *TINY, "--steps", "4", "--method.density", "0.5"]
    assert main(["train", *words, "--out", str(tmp_path / "one")]) == 0
    codes, said = in_processes(tmp_path / "said", 2, *words, "--out", str(tmp_path / "two"))
    assert codes == {0: 0, 1: 0}, said
    assert "report" in said[0]
    assert said[1] == ""
    configs = [(tmp_path / name / "config.yaml").read_text() for name in ("one", "two")]
    assert configs[0] == configs[1]
    assert "devices" not in yaml.safe_load(configs[0])
    assert same(tmp_path / "one", tmp_path / "two")


def test_a_finished_run_returns_at_once_on_all(tmp_path: Path) -> None:
    assert train("dense", tmp_path / "run", steps=2, words=LITTLE) == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").glob("*.safetensors")}
    words = ["dense", *LITTLE, "--steps", "2", "--out", str(tmp_path / "run")]
    codes, said = in_processes(tmp_path / "said", 2, *words)
    assert codes == {0: 0, 1: 0}
    assert "report" in said[0]
    assert said[1] == ""
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize("rank", [0, 1])
def test_one_fails_and_one_speaks(rank: int, tmp_path: Path) -> None:
    fails = f"[{{name: processes.failing.FailsOnOne, rank: {rank}}}]"
    words = [
        "adapmtl",
        *LITTLE,
        "--steps",
        "6",
        "--out",
        str(tmp_path / "run"),
        "--callbacks",
        fails,
        "--quiet",
    ]
    codes, said = in_processes(tmp_path / "said", 2, *words)
    assert codes == {0: 1, 1: 1}
    assert said[rank].startswith(
        "error: Callback FailsOnOne raised in after_step, after step 4: ValueError: "
    )
    assert "the disk of this one is full" in said[rank]
    assert len(said[rank].strip().splitlines()) == 1
    assert said[1 - rank] == ""


def test_what_is_wrong_everywhere_is_said_once_and_leaves_nothing(tmp_path: Path) -> None:
    words = ["adapmtl", *LITTLE, "--batch", "3", "--steps", "6", "--out", str(tmp_path / "run")]
    codes, said = in_processes(tmp_path / "said", 2, *words)
    assert codes == {0: 1, 1: 1}
    told = "".join(said)
    assert told.count("batch is 3, which 2 processes cannot share evenly; give a batch that 2 divides") == 1
    assert not (tmp_path / "run").exists()


def test_processes_that_train_something_else_are_named(tmp_path: Path) -> None:
    def other(rank: int) -> list[str]:
        return [
            "adapmtl",
            *LITTLE,
            "--steps",
            str(6 + rank),
            "--out",
            str(tmp_path / "run"),
            "--devices",
            "2",
        ]

    def run(rank: int) -> dict[str, int]:
        os.dup2(os.open(tmp_path / f"{rank}.said", os.O_CREAT | os.O_WRONLY), 2)
        with open(2, "w", closefd=False) as out:
            sys.stdout = sys.stderr = out
            raise SystemExit(main(["train", *other(rank)]))

    codes, _ = ended(run, tmp_path / "said", together=True)
    assert codes == {0: 1, 1: 1}
    told = "".join((tmp_path / f"{rank}.said").read_text() for rank in (0, 1))
    assert told.count("Process 1 trains something else than the first: its configuration is") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_killed_and_resumed_on_another_number(tmp_path: Path) -> None:
    """The command starts its processes itself; one of them is killed, and all end with one message."""
    words = [
        *LITTLE,
        "--steps",
        "8",
        "--quiet",
        "--callbacks",
        "[{name: processes.failing.FailsOnOne, rank: 1, how: kill}]",
    ]
    command = [sys.executable, "-m", "secateur", "train", "adapmtl", *words, "--out", str(tmp_path / "run")]
    here = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), *sys.path])),
    }
    with (tmp_path / "said.txt").open("w") as file:
        process = Forked([*command, "--devices", "2"], stdout=file, env=here)
    assert process.wait() == 1
    said = (tmp_path / "said.txt").read_text()
    assert "ended without a word" in said
    assert len(said.strip().splitlines()) == 1, said
    assert (tmp_path / "run" / "checkpoint.pt").exists()
    for out in ("run", "straight"):  # the first goes on, where no process is the second
        assert main(["train", "adapmtl", *words, "--out", str(tmp_path / out)]) == 0
    assert same(tmp_path / "run", tmp_path / "straight")
