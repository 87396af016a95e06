"""Starts the processes of one training, and sees to it that they end together and with one message.

Fabric could start them too, but kills all without a word when one fails. Here the first that fails says why, in a place that
all look at (the store by which they found each other), and the others end in silence.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import distributed

from secateur.runs.processes.devices import ElsewhereError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_BOUND = Path(__file__).with_name("bound.py")
_FAILED, _HEARD = "secateur/failed", "secateur/heard"
_LOOK = 0.2  # seconds between two looks at whether another process has failed
_GRACE = 5.0  # seconds to end by itself


@dataclass
class Processes:
    """Those of one training, as one of them sees them.

    Args:
        first: Whether this is the one that writes and prints.
        world: How many there are.
        watch: On the others; None where there are none, or no longer.
    """

    first: bool = True
    world: int = 1
    watch: Watch | None = field(default=None, repr=False)

    def part(self) -> None:
        """All have come to the end of what they do together; from here on each is alone."""
        if self.watch is not None:
            self.watch.end()
            self.watch = None


@contextmanager
def started(fabric: Fabric, several: bool, words: Sequence[str] = ()) -> Generator[Processes]:
    """Inside, all processes are there and train together.

    Args:
        fabric: Of :meth:`Devices.fabric`.
        several: Whether there is more than one.
        words: Arguments of the command line that the other processes of this node are started with, where neither torchrun nor
            SLURM has started them; Fabric starts this very program again if empty.

    Raises:
        ElsewhereError: If another process has failed and said so.
    """
    if not several:
        yield Processes()
        return
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    with _others(fabric, words):
        fabric.launch()
        if not fabric.is_global_zero:
            warnings.simplefilter("ignore")  # the first says it
        watch = Watch(fabric.global_rank, fabric.world_size)
        made = Processes(fabric.is_global_zero, fabric.world_size, watch)
        try:
            yield made
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):  # all of them hear of that
                watch.speaks()
                if made.first:
                    raise
                raise ElsewhereError("stopped") from error
            if made.watch is None:
                raise
            if not watch.speaks():
                raise ElsewhereError("another process has failed") from error
            if _lost(error):
                raise RuntimeError(
                    "Another process of this training ended without a word: it was killed, or the memory did not suffice."
                ) from error
            raise
        made.part()


@contextmanager
def _others(fabric: Fabric, words: Sequence[str]) -> Generator[None]:
    """Starts the processes of this node beside this one, if that is this one's to do, and ends them with it."""
    environment = getattr(fabric.strategy, "cluster_environment", None)
    if not words or environment is None or environment.creates_processes_externally:
        yield
        return
    from lightning_fabric.plugins.environments.lightning import find_free_network_port

    devices = int(getattr(fabric.strategy, "num_processes", 1))
    port = os.environ.get("MASTER_PORT") or str(find_free_network_port())
    quiet = {"TORCH_CPP_LOG_LEVEL": os.environ.get("TORCH_CPP_LOG_LEVEL", "ERROR")}  # that the first is gone
    shared = {
        "MASTER_ADDR": environment.main_address,
        "MASTER_PORT": port,
        "NODE_RANK": str(environment.node_rank()),
    }
    command = [sys.executable, "-P", str(_BOUND), "secateur", *words]
    begun = [
        subprocess.Popen(
            command, stdin=subprocess.PIPE, env={**os.environ, **quiet, **shared, "LOCAL_RANK": str(rank)}
        )
        for rank in range(1, devices)
    ]
    before = _set({**shared, "LOCAL_RANK": "0"})
    ended = threading.Event()
    threading.Thread(target=_look_after, args=(begun, ended), daemon=True).start()
    try:
        yield
    finally:
        _set(before)
        ended.set()
        end = time.monotonic() + _GRACE
        for process in begun:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, end - time.monotonic()))
            process.kill()
            process.wait()
            if process.stdin is not None:
                process.stdin.close()


def _look_after(begun: Sequence[subprocess.Popen[bytes]], ended: threading.Event) -> None:
    """Ends this process where one that it has started has failed before all have met, and would be waited for."""
    while not ended.wait(_LOOK):
        if distributed.is_initialized():
            return
        if failed := next((process for process in begun if process.poll()), None):
            if failed.returncode < 0:
                sys.stderr.write(
                    f"error: a process of this training was ended by signal {-failed.returncode}\n"
                )
            for process in begun:
                process.kill()
            os._exit(1)


class Watch:
    """Looks whether another process has failed, and says so of this one."""

    def __init__(self, rank: int, world: int) -> None:
        self._rank, self._world = rank, world
        self._store: Any = distributed.distributed_c10d._get_default_store()  # pyright: ignore[reportPrivateUsage]
        self._stop, self._heard = threading.Event(), False
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def speaks(self) -> bool:
        """This process has failed: whether it is the first, whose message counts."""
        self._stop.set()
        if self._heard:
            return False
        try:
            mine = self._store.compare_set(_FAILED, "", str(self._rank)).decode() == str(self._rank)
        except Exception:  # the store went with the first process
            return self._rank == 0
        if self._rank == 0:  # which may hold the store: not before the others have heard
            end = time.monotonic() + _GRACE
            with suppress(Exception):
                while self._store.add(_HEARD, 0) < self._world - 1 and time.monotonic() < end:
                    time.sleep(_LOOK / 4)
        else:
            self._hear()
        return mine

    def end(self) -> None:
        """Waits for the others, and parts from them."""
        distributed.barrier()
        self._stop.set()
        self._thread.join()
        distributed.destroy_process_group()

    def _hear(self) -> None:
        if not self._heard:
            self._heard = True
            with suppress(Exception):
                self._store.add(_HEARD, 1)

    def _look(self) -> None:
        while not self._stop.wait(_LOOK):
            try:
                failed = self._store.check([_FAILED])
            except Exception:
                failed = True  # the first process is gone
            if failed and not self._stop.is_set():
                self._hear()
                if not self._stop.wait(
                    _GRACE
                ):  # what waits for another process in torch's own code may wait for ever
                    os._exit(1)
                return


def _lost(error: BaseException) -> bool:
    """Whether an error is that of torch where a connection to another process broke."""
    return isinstance(error, distributed.DistBackendError) or (
        type(error) is RuntimeError and any(word in str(error) for word in ("gloo", "onnection"))
    )


def _set(values: Mapping[str, str | None]) -> dict[str, str | None]:
    """Sets variables of the environment, or takes them away; returns what they were."""
    before = {name: os.environ.get(name) for name in values}
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    return before
