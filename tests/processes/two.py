"""Several processes that train together, forked from this one, which has imported everything already."""

from __future__ import annotations

import os
import signal
import socket
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import distributed

PATIENCE = 120  # seconds, after which they hang


def in_two(function: Callable[[int], dict[str, Any]], folder: Path, world: int = 2) -> list[dict[str, Any]]:
    """What ``function(rank)`` returns in each of two processes, or of ``world``, in the order of their ranks."""
    codes, said = ended(function, folder, world)
    assert codes == dict.fromkeys(range(world), 0), said or f"of the processes only {sorted(codes)} ended"
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(world)]


def ended(
    function: Callable[[int], dict[str, Any]], folder: Path, world: int = 2, *, together: bool = False
) -> tuple[dict[int, int], str]:
    """Rank to exit code of those that ended before one failed, or before they hung, and the traces that they left.

    With ``together`` they find each other themselves, and one that fails does not end the others.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    numbers = [_forked(function, rank, world, folder, port, together) for rank in range(world)]
    deadline = time.monotonic() + PATIENCE
    left = dict(enumerate(numbers))
    codes: dict[int, int] = {}
    while left and time.monotonic() < deadline and (together or not any(codes.values())):
        for rank, number in list(left.items()):
            done, status = os.waitpid(number, os.WNOHANG)
            if done:
                codes[rank] = os.waitstatus_to_exitcode(status)
                del left[rank]
        time.sleep(0.01)
    for number in left.values():
        os.kill(number, signal.SIGKILL)
        os.waitpid(number, 0)
    return codes, "\n".join(path.read_text() for path in sorted(folder.glob("*.txt")))


def _forked(
    function: Callable[[int], dict[str, Any]], rank: int, world: int, folder: Path, port: str, alone: bool
) -> int:
    if number := os.fork():
        return number
    code = 1
    try:
        ours = {"LOCAL_RANK": str(rank), "NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        os.environ.update(ours)  # for Fabric: the processes are there already
        torch.set_num_threads(1)
        if alone:
            function(rank)
            os._exit(0)
        distributed.init_process_group(
            "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world
        )
        torch.save(function(rank), folder / f"{rank}.pt")
        distributed.barrier()
        code = 0
    except SystemExit as error:
        code = int(error.code or 0)
    except BaseException:
        (folder / f"{rank}.txt").write_text(traceback.format_exc())
    os._exit(code)
