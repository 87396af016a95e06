"""A process that holds one network in one engine and times it when asked; started by process.py, never imported for it.

It reads a JSON line and answers with one: first its arguments, then ``{"calls": n}`` any number of times, ``{"by_layer": n}`` too.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

_STEP, _PATIENCE, _ASLEEP = 0.005, 2.0, 0.1  # seconds; share of a core below which a process counts as asleep


def main() -> None:
    """Loads what the first line asks for, then answers until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what an engine prints must not reach the parent as an answer
    with answers:
        given = json.loads(sys.stdin.readline())
        run, layers = _loaded(given)
        _answer(answers, {"layers": layers})
        for line in sys.stdin:
            asked = json.loads(line)
            if "by_layer" in asked:
                _answer(answers, _by_layer(given, asked["by_layer"]))
            else:
                _answer(answers, timed(run, asked["calls"]) | {"memory": _peak()})


def timed(run: Callable[[], object], calls: int) -> dict[str, Any]:
    """Milliseconds of each of ``calls`` passes, the share of the time spent waiting for a core, and whether it sleeps now."""
    before_all, started = waited(), time.perf_counter()
    found: list[float] = []
    for _ in range(calls):
        before = time.perf_counter()
        run()
        found.append((time.perf_counter() - before) * 1e3)
    wall, after = time.perf_counter() - started, waited()
    disturbed = None if before_all is None or after is None else max(0.0, after - before_all) / wall
    return {"ms": found, "disturbed": disturbed, "settled": _settled()}


def _loaded(given: dict[str, Any]) -> tuple[Callable[[], object], list[Any]]:
    sys.path.append(str(Path(__file__).resolve().parents[3]))  # where secateur lies, if it is not installed
    # Imports no torch, whose memory would count as that of every engine.
    from secateur.deployment.engines import load_engine

    engine = load_engine(given["path"], given["threads"], given["precision"], given["engine"])
    arrays = _arrays(given)
    return lambda: engine.call(arrays), list(engine.layers)


def _by_layer(given: dict[str, Any], passes: int) -> dict[str, float]:
    from secateur.deployment.engines import layer_times

    how = given["threads"], given["precision"], given["engine"]
    return layer_times(Path(given["path"]), _arrays(given), *how, passes)


def _arrays(given: dict[str, Any]) -> list[Any]:
    import numpy as np

    with np.load(given["input"]) as held:
        return [held[f"arr_{index}"] for index in range(len(held.files))]


def _answer(file: IO[str], content: dict[str, Any]) -> None:
    file.write(json.dumps(content) + "\n")
    file.flush()


def _settled() -> bool:
    """Waits until the threads of this process sleep: a pool that spins takes a core from what is timed next."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        busy, wall = time.process_time(), time.perf_counter()
        time.sleep(_STEP)
        if time.process_time() - busy < _ASLEEP * (time.perf_counter() - wall):
            return True
    return False


def waited() -> float | None:
    """Seconds that the threads of this process were ready but had no core; None where the system does not say."""
    try:
        files = list(Path("/proc/self/task").glob("*/schedstat"))
        return sum(int(file.read_text().split()[1]) for file in files) / 1e9 if files else None
    except OSError:  # a thread that ended meanwhile
        return None


def _peak() -> int | None:
    """Largest resident memory so far, in bytes; not ``ru_maxrss``, which starts from that of the parent."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), None)


if __name__ == "__main__":
    main()
