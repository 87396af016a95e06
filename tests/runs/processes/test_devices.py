"""Which devices may be asked for, and what started the processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from secateur.runs.processes import Devices, ElsewhereError, bound, started

TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "4", "GROUP_RANK": "0"}
SLURM = {
    "SLURM_NTASKS": "4",
    "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"devices": 0}, "devices is 0; give a whole number of at least 1"),
        ({"nodes": -1}, "nodes is -1; give a whole number of at least 1"),
        (
            {"strategy": "fsdp"},
            r"strategy is 'fsdp', which takes the weights of a layer apart.*docs/scale.md",
        ),
        ({"strategy": "deepspeed_stage_2"}, r"'deepspeed_stage_2', which takes .* apart"),
        ({"strategy": "dpp"}, r"strategy is 'dpp'; give ddp or auto\. Did you mean '?ddp"),
        ({"devices": 2, "device": "cuda:0"}, "device is cuda:0, one device, and devices is 2"),
        ({"devices": 8, "device": "cuda"}, "devices is 8, but torch sees 2 GPUs here; use --devices 2"),
        (
            {"nodes": 2, "device": "cpu"},
            r"nodes is 2, but nothing says .* NODE_RANK, MASTER_ADDR, MASTER_PORT are not set",
        ),
    ],
)
def test_what_is_not_there_is_refused(asked: dict, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match=said):
        Devices(**asked).fabric("32-true")


@pytest.mark.parametrize(("variables", "starter"), [(TORCHRUN, "torchrun"), (SLURM, "SLURM")])
def test_what_was_started_must_be_what_is_asked(
    variables: dict[str, str], starter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(
        ValueError, match=f"devices is 8 and nodes is 1, 8 processes, but {starter} started 4"
    ):
        Devices("cpu", 8).fabric("32-true")
    with pytest.raises(
        ValueError, match=f"{starter} started 4 processes, and the training is asked to be one"
    ):
        Devices("cpu").fabric("32-true")
    fabric = Devices("cpu", 2, 2).fabric("32-true")
    wanted = TorchElasticEnvironment if starter == "torchrun" else SLURMEnvironment
    assert isinstance(fabric.strategy.cluster_environment, wanted)
    monkeypatch.setenv("RANK" if starter == "torchrun" else "SLURM_PROCID", "3")
    with pytest.raises(ElsewhereError):  # the first says it
        Devices("cpu", 8).fabric("32-true")


def test_one_task_of_slurm_starts_the_others_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**SLURM, "SLURM_NTASKS": "1", "SLURM_NTASKS_PER_NODE": "1"}.items():
        monkeypatch.setenv(name, value)
    fabric = Devices("cpu", 2).fabric("32-true")
    assert isinstance(fabric.strategy.cluster_environment, LightningEnvironment)


def test_nodes_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"NODE_RANK": "1", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"}.items():
        monkeypatch.setenv(name, value)
    assert Devices("cpu", 2, 2).fabric("32-true").strategy.num_nodes == 2


def test_one_device_starts_nothing() -> None:
    devices = Devices("cpu")
    with started(devices.fabric("32-true"), devices.several) as processes:
        assert (processes.first, processes.world) == (True, 1)
        processes.part()
    assert not torch.distributed.is_initialized()


def test_a_file_in_the_working_folder_takes_nobodys_place(tmp_path: Path) -> None:
    """A module of one's own is found there all the same."""
    (tmp_path / "yaml.py").write_text("raise SystemExit('somebody was here')")
    (tmp_path / "own_lab.py").write_text("import yaml, sys\nprint(yaml.safe_load('[1]'), sys.argv[1:])")
    command = [sys.executable, "-P", bound.__file__, "own_lab", "a"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as made:
        assert made.stdout is not None
        assert made.stdout.read().split() == ["[1]", "['a']"]
