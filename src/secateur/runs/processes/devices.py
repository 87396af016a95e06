"""Which devices a training runs on, held against those that there are and against what started the processes."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch

from secateur.problem import check_count
from secateur.runs.hardware import on_device
from secateur.runs.parser import nearest

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment

_PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others: the first decodes data that are kept in memory, or reads a slow disk."""
_STRATEGIES = ("auto", "ddp")
_SHARDED = ("fsdp", "deepspeed", "model_parallel", "xla_fsdp")


class ElsewhereError(RuntimeError):
    """Another process of this training has failed and says why; this one has nothing to add."""


@dataclass(frozen=True)
class Devices:
    """What a training runs on.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``, as ``--device`` takes it.
        devices: Of a node, a process each; on the processor processes that share its cores.
        nodes: How many.
        strategy: ``ddp``, or ``auto``, which is that where there are several.

    Raises:
        ValueError: If one of them is out of range.
    """

    device: str = "auto"
    devices: int = 1
    nodes: int = 1
    strategy: str = "auto"

    def __post_init__(self) -> None:
        for name, count in (("devices", self.devices), ("nodes", self.nodes)):
            check_count(name, count)
        if self.strategy.startswith(_SHARDED):
            raise ValueError(
                f"strategy is {self.strategy!r}, which takes the weights of a layer apart, and methods prune whole ones by comparing "
                "them; use ddp (docs/scale.md says why, and what fits)."
            )
        if self.strategy not in _STRATEGIES:
            raise ValueError(
                f"strategy is {self.strategy!r}; give ddp or auto.{nearest(self.strategy, list(_STRATEGIES))}"
            )

    @property
    def several(self) -> bool:
        """Whether the training is one of several processes."""
        return self.devices * self.nodes > 1

    def fabric(self, precision: Any) -> Fabric:
        """Fabric for these devices; nothing is started yet.

        Raises:
            ValueError: If a device is not here, or the processes that were started are others than those asked for.
            ElsewhereError: The same, where the first process says it.
        """
        found = on_device(self.device)
        if self.several:
            self._check_room(found)
        from lightning_fabric import Fabric
        from lightning_fabric.plugins.environments.lightning import LightningEnvironment
        from lightning_fabric.strategies.ddp import DDPStrategy

        if not self.several:
            environment = _environment()
            if not isinstance(environment, LightningEnvironment) and environment.world_size() > 1:
                raise _said_by_one(
                    environment,
                    f"{_starter(environment)} started {environment.world_size()} processes, and the training is asked to be one; say "
                    "how many it is: --devices of each node, and --nodes.",
                )
            return Fabric(**found, precision=precision)
        environment = self._started_by()
        strategy = DDPStrategy(cluster_environment=environment, timeout=_PATIENCE)
        return Fabric(
            accelerator=found["accelerator"],
            devices=self.devices,
            num_nodes=self.nodes,
            strategy=strategy,
            precision=precision,
        )

    def _check_room(self, found: dict[str, Any]) -> None:
        if isinstance(found["devices"], list):
            raise ValueError(
                f"device is {self.device}, one device, and devices is {self.devices}; use --device cuda."
            )
        if found["accelerator"] == "cuda" and (count := torch.cuda.device_count()) < self.devices:
            raise ValueError(
                f"devices is {self.devices}, but torch sees {count} GPU{'s' if count > 1 else ''} here; use --devices {count}."
            )

    def _started_by(self) -> ClusterEnvironment:
        from lightning_fabric.plugins.environments.lightning import LightningEnvironment

        environment, wanted = _environment(), self.devices * self.nodes
        if isinstance(environment, LightningEnvironment):
            if self.nodes > 1 and (lacking := [n for n in _BY_HAND if n not in os.environ]):
                raise ValueError(
                    f"nodes is {self.nodes}, but nothing says which of them this is: there is no torchrun (RANK, LOCAL_RANK and WORLD_SIZE "
                    f"are not set), no step of SLURM (start it with srun), and {', '.join(lacking)} "
                    f"{'is' if len(lacking) == 1 else 'are'} not set by hand."
                )
            return environment
        if environment.world_size() != wanted:
            raise _said_by_one(
                environment,
                f"devices is {self.devices} and nodes is {self.nodes}, {wanted} processes, but {_starter(environment)} started "
                f"{environment.world_size()}; say the same in both.",
            )
        return environment


_BY_HAND = ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT")


def _environment() -> ClusterEnvironment:
    """What started this process; of a single task of SLURM nothing has been started."""
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that srun is there and was not used
        slurm = (
            SLURMEnvironment.detect() and int(os.environ["SLURM_NTASKS"]) > 1 and "SLURM_PROCID" in os.environ
        )
    return SLURMEnvironment() if slurm else LightningEnvironment()


def _starter(environment: ClusterEnvironment) -> str:
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    return "torchrun" if isinstance(environment, TorchElasticEnvironment) else "SLURM"


def _said_by_one(environment: ClusterEnvironment, said: str) -> Exception:
    """What is wrong in all processes alike is for the first to say."""
    return ElsewhereError(said) if environment.global_rank() else ValueError(said)
