"""Where runs train: what a place is asked, in what order, and what a run takes there."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from threading import Event, Lock

import pytest

from processes.cluster import RUNS
from secateur.runs.folder import RunFolder
from secateur.runs.study import Cell, Trainer, Where, grid, memory, running
from secateur.runs.study.places import Need, threads_of
from secateur.runs.study.running import run


class Fake:
    """Trains nothing, and keeps what it was asked."""

    def __init__(self, count: int = 4, fails: Sequence[str] = ()) -> None:
        self.count, self.stop, self.fails = count, Event(), fails
        self.asked: dict[str, tuple[str, ...]] = {}
        self.ended: list[str] = []
        self._guard = Lock()

    def train(self, name: str, arguments: Sequence[str], beside: Sequence[str] = ()) -> str | None:
        self.asked[name] = (*arguments,)
        if name.startswith("dense"):
            self.stop.wait(0.2)
        with self._guard:
            self.ended.append(name)
        return "it broke" if name in self.fails else None


def test_every_cell_is_trained_by_the_place_and_failures_are_named(tmp_path: Path) -> None:
    cells = [Cell("magnitude", 0.5, ("depth",), seed, False, (f"--seed={seed}",), {}) for seed in range(5)]
    place, told = Fake(fails=[cells[3].name]), []
    failed = run(cells, tmp_path, place=place, on_done=lambda cell, error: told.append((cell.name, error)))
    assert failed == {cells[3].name: "it broke"}
    assert place.asked == {cell.name: cell.arguments for cell in cells}
    assert sorted(told) == sorted((cell.name, failed.get(cell.name)) for cell in cells)


@pytest.mark.parametrize("watches", [["--floors={depth: 0.1}"], []])
def test_a_run_that_looks_at_its_dense_one_waits_for_it(watches: list[str], tmp_path: Path) -> None:
    cells = grid(["dense", "magnitude"], [*RUNS, "--validate_every=1", *watches], seeds=2)
    place = Fake()
    run(cells, tmp_path, place=place)
    for seed in (0, 1):
        at = {name.partition("-")[0]: n for n, name in enumerate(place.ended) if name.endswith(f"s{seed}")}
        assert (at["dense"] < at["magnitude"]) == bool(watches), "nobody waits for what tables alone compare"


def test_a_run_that_another_process_trains_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.claim({"steps": 1})
    began: list[bool] = []
    monkeypatch.setattr(running, "_train", lambda *_: began.append(folder.busy))
    held, let_go = Event(), Event()

    def other() -> None:
        with folder.held():
            held.set()
            let_go.wait(10)

    thread = threading.Thread(target=other)
    thread.start()
    assert held.wait(10)
    assert folder.busy
    waiting = threading.Thread(target=Trainer(tmp_path, jobs=1).train, args=("run", ()))
    waiting.start()
    waiting.join(0.7)
    assert not began
    let_go.set()
    waiting.join(10)
    thread.join(10)
    assert began == [False]


def test_a_run_that_another_took_first_is_waited_for_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path / "run")
    busy = iter([False, True, True, False, False])
    monkeypatch.setattr(RunFolder, "busy", property(lambda self: next(busy)))
    said = iter(["error: another process trains here", None])
    monkeypatch.setattr(running, "_train", lambda *_: next(said))
    assert Trainer(tmp_path, jobs=1).train(folder.path.name, ()) is None
    assert next(said, "all said") == "all said"


# --- what is asked


@pytest.mark.parametrize(
    ("text", "found"), [("8GB", 2**33), ("512 MiB", 2**29), ("1.5g", 3 * 2**29), ("100", 100)]
)
def test_amounts_of_memory(text: str, found: int) -> None:
    assert memory(text) == found


def test_what_a_run_takes() -> None:
    def need(where: Where, workers: int, *words: str) -> Need:
        return where.need(workers, [("dense", *words)], lambda device: device != "cpu")

    assert need(Where("ray"), 2) == Need(3, 1)
    assert need(Where("ray"), 2, "--device", "cuda", "--device=cpu") == Need(3, 0)
    four = need(Where("ray"), 1, "--devices", "4")
    assert four == Need(8, 4)
    assert threads_of(four, 1, 4) == 1
    assert threads_of(Need(16, 4), 1, 4) == 3
    assert str(need(Where("ray", 2, 0.5, 2**30), 0)) == "2 CPUs, 0.5 GPU, 1 GiB of memory"
    assert [Need(2, 1).times(Need(*has)) for has in ((7, 2), (7, 9), (1, 9), (7, 0))] == [2, 3, 0, 0]
    with pytest.raises(ValueError, match=r"--nodes: on a cluster each run is on one machine"):
        need(Where("ray"), 0, "--nodes=2")
