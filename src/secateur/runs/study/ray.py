"""Runs as tasks of a Ray cluster: the one that RAY_ADDRESS names, or one that is started here and ends with the command."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from threading import Event, Lock
from typing import Any

from secateur.runs.folder import RunFolder
from secateur.runs.study.brought import packed, write_run
from secateur.runs.study.node import Done, Order, carry_out, installed
from secateur.runs.study.places import Need, Where, devices_of, threads_of
from secateur.storage import write_aside, write_text

_CONNECT = 10  # seconds for the head node to answer
_JOIN = 60  # seconds to become part of the cluster
_ALONE = 60  # seconds that a run waits for a machine with room for it to come back
_RETRIES = 8  # machines or processes that may die under a run
_MOST = 500  # runs that are handed to the cluster at a time; those that it has no room for wait there
_SET = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY")  # what of the user's environment counts on every machine


class RayPlace:
    """Trains runs on the machines of a cluster; of :func:`ray_place`.

    Args:
        ray: The module.
        need: What a run takes.
        out: Folder of the runs.
        count: Runs at a time at most.
        workers: Processes that load data, a run.
        token: Name and content of the file in ``out`` by which a machine knows the folder.
    """

    def __init__(
        self, ray: Any, need: Need, out: Path, *, count: int, workers: int, token: tuple[str, str]
    ) -> None:
        self.out, self.count, self.stop = out, count, Event()
        self._ray, self._need, self._workers, self._token = ray, need, workers, token
        asked = {"num_cpus": need.cpus, "num_gpus": need.gpus, "max_retries": _RETRIES}
        asked |= {"memory": need.memory} if need.memory else {}
        self._task = ray.remote(carry_out).options(**asked, scheduling_strategy="SPREAD")
        self._versions = installed()
        self._looking, self._looked, self._room = Lock(), 0.0, time.monotonic()

    def train(self, name: str, arguments: Sequence[str], beside: Sequence[str] = ()) -> str | None:
        """As of :class:`secateur.runs.study.places.Place`."""
        ray, folder = self._ray, RunFolder(self.out / name)
        own = Path(arguments[0])
        order = Order(
            name,
            tuple(arguments),
            str(self.out.resolve()),
            self._token,
            str(Path.cwd()),
            self._workers,
            threads_of(self._need, self._workers, devices_of([arguments])),
            self._need.gpus > 0,
            self._versions,
            (own.name, own.read_bytes()) if own.is_file() else None,
            {other: packed(self.out / other) for other in beside},
            {key: os.environ[key] for key in _SET if key in os.environ},
        )
        task = self._task.remote(order)
        while not ray.wait([task], timeout=0.5)[0]:
            if self.stop.is_set() or self._without_room():
                ray.cancel(task, force=True)
                return None if self.stop.is_set() else self._no_room()
        try:
            done: Done = ray.get(task)
        except ray.exceptions.RayError as error:
            return f"the cluster gave up: {_last(str(error))}"
        if done.log:
            write_aside(self.out / "logs" / f"{name}.txt", lambda aside: aside.write_bytes(done.log))
        if done.files is not None:
            try:
                write_run(done.files, done.digest, folder, arguments)
            except ValueError as error:
                return str(error)
        return done.error

    def _without_room(self) -> bool:
        """Whether no machine has been left for a while that has room for a run when it does nothing else."""
        with self._looking:
            if time.monotonic() - self._looked > 5:
                self._looked = time.monotonic()
                if any(self._need.fits(has) for has in machines(self._ray)):
                    self._room = self._looked
            return self._looked - self._room > _ALONE

    def _no_room(self) -> str:
        return (
            f"no machine of the cluster is left with {self._need}; the same command goes on when there is one"
        )


@contextmanager
def ray_place(
    runs: Sequence[Sequence[str]], out: Path, where: Where, *, count: int | None = None, workers: int = 0
) -> Generator[RayPlace]:
    """A cluster to train on, left or ended after the block.

    Args:
        runs: Arguments of ``secateur train`` of what will train.
        out: Folder of the runs.
        where: What a run takes.
        count: Runs that are handed over at a time; as many as there is room for now if None.
        workers: Processes that load data, a run.

    Raises:
        ImportError: If Ray is not installed; it says what to install.
        ConnectionError: If the cluster cannot be reached.
        ValueError: If a run needs more than any machine of the cluster has.
    """
    try:
        ray: Any = import_module("ray")
    except ImportError as error:
        raise ImportError(f"--on ray needs Ray: pip install 'secateur[ray]' ({error}).") from error
    begun = not ray.is_initialized()  # else by the program that this is part of
    if begun:
        _join(ray, os.environ.get("RAY_ADDRESS", ""))
    try:
        has = machines(ray)
        gpus = any(machine.gpus for machine in has)
        need = where.need(workers, runs, lambda device: gpus and not device.startswith("cpu"))
        if not any(need.fits(machine) for machine in has):
            largest = max(has, key=lambda m: (m.gpus, m.cpus, m.memory), default=Need(0))
            raise ValueError(
                f"A run takes {need}; the largest machine of the cluster has {largest}. Ask less (--cell-cpus, "
                "--cell-gpus, --cell-memory, --workers), or a cluster with larger ones."
            )
        token = (f".shared.{os.getpid()}.new", secrets.token_hex(16))
        write_text(out / token[0], token[1])
        at_once = min(count or sum(need.times(machine) for machine in has), _MOST)
        try:
            yield RayPlace(ray, need, out, count=at_once, workers=workers, token=token)
        finally:
            (out / token[0]).unlink(missing_ok=True)
    finally:
        if begun:
            ray.shutdown()


def machines(ray: Any) -> list[Need]:
    """What each machine that is there has in all."""
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [Need(int(r.get("CPU", 0)), r.get("GPU", 0.0), int(r.get("memory", 0))) for r in alive]


def _join(ray: Any, address: str) -> None:
    """Connects to the cluster there, or starts one where none is named; what it does is reported to nobody.

    Raises:
        ConnectionError: If it cannot be reached in time.
    """
    local = address in ("", "local")
    if not local:
        _check_reachable(address)
    before, handler = os.environ.get("RAY_USAGE_STATS_ENABLED"), signal.getsignal(signal.SIGTERM)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if local:
            ray.init("local", include_dashboard=False, **quiet)
        else:
            ray.init(address, **quiet)
    except (OSError, RuntimeError, ValueError, AssertionError) as error:
        raise ConnectionError(f"{_named(address)}: {_last(str(error))}") from error
    finally:
        if before is None:
            del os.environ["RAY_USAGE_STATS_ENABLED"]
        else:
            os.environ["RAY_USAGE_STATS_ENABLED"] = before
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray puts in one that exits


def _check_reachable(address: str) -> None:
    """Raises ConnectionError where nothing answers in time: Ray itself tries for minutes, and may end the process."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address != "auto":
        if not host or not port.isdigit() or "/" in host:
            raise ConnectionError(f"{_named(address)}: that is no address of a cluster; give HOST:6379.")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT).close()
        except (OSError, OverflowError) as error:
            raise ConnectionError(f"{_named(address)}: {error}. Is it running? `ray status` says.") from error
    code = "import sys, ray; ray.init(sys.argv[1], log_to_driver=False, logging_level='ERROR')"
    try:
        tried = subprocess.run(
            [sys.executable, "-c", code, address], capture_output=True, text=True, timeout=_JOIN, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ConnectionError(
            f"{_named(address)}: no Ray cluster answers there within {_JOIN} seconds."
        ) from error
    if tried.returncode:
        raise ConnectionError(
            f"{_named(address)}: {_last(tried.stderr)} From a machine that is not part of it: RAY_ADDRESS=ray://HOST:10001."
        )


def _named(address: str) -> str:
    return (
        f"No Ray cluster at RAY_ADDRESS={address}"
        if address not in ("", "local")
        else "No Ray cluster started here"
    )


def _last(text: str) -> str:
    """The line of an error of Ray's that says most: the last that is not empty."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no reason given"
