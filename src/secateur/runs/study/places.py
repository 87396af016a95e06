"""Where the runs of a comparison train: here, on a Ray cluster, or as a job array of Slurm."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Literal, Protocol

from secateur.runs.arguments import given, spelt_out
from secateur.runs.study.seeds import is_whole

On = Literal["here", "ray", "slurm"]
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class Place(Protocol):
    """Trains runs, as many at a time as there is room for; threads may share it."""

    count: int
    """Runs at a time at most."""
    stop: Event
    """Ends what runs, and lets nothing begin."""

    def train(self, name: str, arguments: Sequence[str], beside: Sequence[str] = ()) -> str | None:
        """Trains to the end, into the folder ``name``; its last words if it fails.

        Args:
            name: Of the run's folder.
            arguments: Of ``secateur train``, without ``--out`` and ``--workers``.
            beside: Finished runs that it looks at, by their folders' names.
        """
        ...


@dataclass(frozen=True)
class Need:
    """What a run takes of a machine.

    Args:
        cpus: Cores: one for each process that loads data, the others are threads of torch.
        gpus: A part of one, where runs share it.
        memory: Bytes; 0 where it is not said.
    """

    cpus: int
    gpus: float = 0
    memory: int = 0

    def __str__(self) -> str:
        said = [f"{self.cpus} CPU{'s' * (self.cpus != 1)}"]
        said += [f"{self.gpus:g} GPU{'s' * (self.gpus > 1)}"] if self.gpus else []
        return ", ".join([*said, *([f"{self.memory / 2**30:.3g} GiB of memory"] if self.memory else [])])

    def fits(self, other: Need) -> bool:
        """Whether a machine that has ``other`` has room for it."""
        return self.times(other) > 0

    def times(self, other: Need) -> int:
        """How often there is room for it on a machine that has ``other``."""
        pairs = [(self.cpus, other.cpus), (self.gpus, other.gpus), (self.memory, other.memory)]
        return min(int(has / asked) for asked, has in pairs if asked)


@dataclass(frozen=True)
class Where:
    """Where the runs train, and what each takes there.

    Args:
        on: The machine that asks, a Ray cluster, or a job array of Slurm.
        cpus: Cores of a run; 1 and one for each process that loads data if None.
        gpus: Of a run; one where the cluster has any and the device is not the CPU if None.
        memory: Bytes of a run.

    Raises:
        ValueError: If a run would take less than a core, or what belongs to a cluster is asked of this machine.
    """

    on: On = "here"
    cpus: int | None = None
    gpus: float | None = None
    memory: int | None = None

    def __post_init__(self) -> None:
        asked = {"--cell-cpus": self.cpus, "--cell-gpus": self.gpus, "--cell-memory": self.memory}
        given = [name for name, value in asked.items() if value is not None]
        if given and self.on == "here":
            raise ValueError(
                f"{given[0]} is what a run takes on a cluster: add --on ray or --on slurm; here --jobs shares the machine out."
            )
        if self.cpus is not None and not (is_whole(self.cpus) and self.cpus >= 1):
            raise ValueError(f"--cell-cpus is {self.cpus!r}; a run takes at least 1.")
        if self.gpus is not None and (isinstance(self.gpus, bool) or not math.isfinite(self.gpus)):
            raise ValueError(f"--cell-gpus is {self.gpus}; give how many, or a part of one such as 0.5.")
        if self.gpus is not None and not (self.gpus == int(self.gpus) >= 0 or 0 < self.gpus < 1):
            raise ValueError(f"--cell-gpus is {self.gpus:g}; a whole number, or a part of one such as 0.5.")
        if self.gpus is not None and self.gpus != int(self.gpus) and self.on == "slurm":
            raise ValueError(f"--cell-gpus is {self.gpus:g}; Slurm gives whole ones.")
        if self.memory is not None and not (is_whole(self.memory) and self.memory >= 1):
            raise ValueError(f"--cell-memory is {self.memory!r}; give bytes with a unit, such as 8GB.")

    def need(self, workers: int, runs: Sequence[Sequence[str]], accelerated: Callable[[str], bool]) -> Need:
        """What each of these runs takes.

        Args:
            workers: Processes that load data, a device.
            runs: Their arguments.
            accelerated: Whether a ``--device`` is a GPU there.

        Raises:
            ValueError: If one asks for several nodes.
        """
        if any(int(option_of(run, "--nodes", "1")) > 1 for run in runs):
            raise ValueError(
                f"--nodes: on a cluster each run is on one machine; leave it out of --on {self.on}, or train that run by itself."
            )
        devices = devices_of(runs)
        gpus = devices if any(accelerated(option_of(run, "--device", "auto")) for run in runs) else 0
        cpus = devices * (1 + workers) if self.cpus is None else self.cpus
        return Need(cpus, gpus if self.gpus is None else self.gpus, self.memory or 0)


def devices_of(runs: Sequence[Sequence[str]]) -> int:
    """The most that one of these runs trains on."""
    return max((int(option_of(run, "--devices", "1")) for run in runs), default=1)


def threads_of(need: Need, workers: int, devices: int) -> int:
    """Of torch, a device: what the processes that load data leave of a run's cores."""
    return max(1, need.cpus // devices - workers)


def option_of(arguments: Sequence[str], name: str, otherwise: str) -> str:
    """What a run's option says, of several the last; ``otherwise`` where it is not given."""
    return [otherwise, *given([spelt_out(word) for word in arguments], name)][-1]


def memory(text: str) -> int:
    """``8GB``, ``512 MiB`` or ``8G``: bytes, by powers of 1024 as Slurm counts.

    Raises:
        ValueError: If it is no such thing.
    """
    found = re.fullmatch(r"([0-9]*\.?[0-9]+)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if found is None:
        raise ValueError(f"{text!r} is no amount of memory; write it as 8GB.")
    return int(float(found[1]) * _UNITS[found[2].upper()])
