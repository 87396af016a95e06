"""Trainings on a stream: from the command line, killed and gone on with, in two processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from miniatures import shards
from miniatures.streams import KINDS, numbers, streamed, streams
from problems import equal, weights
from processes.two import in_two
from secateur.cli import main
from secateur.data import Data
from secateur.methods import DiSparse, GradualMagnitude
from secateur.problem import Problem
from secateur.training import fit

SPLITS = {"train": list(range(1, 21)), "validation": [21, 22], "test": [23, 24, 25]}


class Small(nn.Module):
    """A head for each task on the colours of an image."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(72, 8), nn.ReLU())
        self.heads = nn.ModuleDict({task: nn.Linear(8, count) for task, count in shards.CLASSES.items()})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {task: head(self.body(x)) for task, head in self.heads.items()}


def problem(data: Data, seen: list[Any] | None = None) -> Problem:
    """``seen`` gets what training reads."""

    def noted(batch: Any) -> Any:
        if seen is not None:
            seen.extend(numbers([batch], data))
        return batch

    return Problem(Small(), data.tasks, data.train, data.val, unpack=noted)


def settings(**more: Any) -> dict[str, Any]:
    return {"optimizer": _sgd, "progress": False, **({} if "epochs" in more else {"steps": 12}), **more}


def _sgd(groups: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, lr=0.05, momentum=0.9)


def _stopped(rows: list[Any]) -> None:
    if rows and rows[-1]["step"] == 8:
        raise KeyboardInterrupt


@pytest.mark.parametrize("workers", [pytest.param(0, marks=pytest.mark.slow), 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_training_goes_on_with_the_next_image(kind: str, workers: int, tmp_path: Path) -> None:
    root = streams(kind, tmp_path / "set", **SPLITS)
    whole, resumed = (problem(streamed(kind, root, batch=3, augment=True, workers=workers)) for _ in range(2))
    method = {"method": GradualMagnitude(0.5)}
    fit(whole, **method, **settings())
    kept = settings(checkpoint=tmp_path / "checkpoint.pt", checkpoint_every=5, log_every=1)
    with pytest.raises(KeyboardInterrupt):
        fit(resumed, **method, **kept, on_log=_stopped)
    again = problem(streamed(kind, root, batch=3, augment=True))
    fit(again, **method, **kept)
    assert equal(weights(whole), weights(again))


def test_it_goes_on_without_looking_through_what_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = streams("tar", tmp_path / "set", **SPLITS)
    kept = settings(checkpoint=tmp_path / "checkpoint.pt", checkpoint_every=5, log_every=1)
    data: Any = streamed("tar", root, batch=3)
    expected = numbers(data.train.from_step(5), data, 7)
    with pytest.raises(KeyboardInterrupt):
        fit(problem(data), **kept, on_log=_stopped)
    monkeypatch.setattr("secateur.data.streams.order.Order.at", None)
    seen = list[Any]()
    fit(problem(data, seen), **kept)
    assert seen[-7:] == expected


@pytest.mark.parametrize("changed", ["gone", "other", "buffer"])
def test_other_shards_are_refused_by_a_checkpoint(changed: str, tmp_path: Path) -> None:
    root = streams("tar", tmp_path / "set", **SPLITS)
    kept = settings(checkpoint=tmp_path / "checkpoint.pt", checkpoint_every=5, log_every=1)
    with pytest.raises(KeyboardInterrupt):
        fit(problem(streamed("tar", root, batch=3)), **kept, on_log=_stopped)
    if changed == "gone":
        (root / "set-train-0002.tar").unlink()
    elif changed == "other":
        shards.written(root / "set-train-0002.tar", [shards.sample(n) for n in range(40, 80)])
    buffer = 7 if changed == "buffer" else 6
    with pytest.raises(ValueError, match=r"another training: data is .* there and .* here"):
        fit(problem(streamed("tar", root, batch=3, buffer=buffer)), **kept)


@pytest.mark.parametrize(
    "place",
    [
        {},
        {"epoch": -1},
        {"epoch": 1.5},
        {"window": "a"},
        {"more": 1},
        {"piece": 9},
        {"offset": 8},
        {"used": 7},
    ],
)
def test_a_place_that_is_none_is_refused(place: dict[str, Any], tmp_path: Path) -> None:
    data: Any = streamed("tar", streams("tar", tmp_path, **SPLITS))
    good = data.train.from_step(0).place()
    with pytest.raises(ValueError, match="place in the data"):
        data.train.from_place(2, {**good, **place} if place else {})


def test_epochs_where_the_number_of_images_is_known(tmp_path: Path) -> None:
    known = problem(streamed("parquet", streams("parquet", tmp_path / "rows", **SPLITS), batch=5))
    assert fit(known, **settings(epochs=2)).rows[-1]["step"] == 8
    unknown = problem(streamed("tar", streams("tar", tmp_path / "tars", **SPLITS), batch=5))
    with pytest.raises(ValueError, match="epochs needs a loader with a length; give steps instead"):
        fit(unknown, **settings(epochs=2))


@pytest.mark.forks
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_end_with_the_network_of_one(kind: str, tmp_path: Path) -> None:
    root = streams(kind, tmp_path / "set", **SPLITS)

    def trained(world: int) -> dict[str, Any]:
        made = problem(streamed(kind, root, batch=6, augment=True))
        fabric = Fabric(accelerator="cpu", devices=world, strategy="ddp" if world > 1 else "auto")
        fabric.launch()
        fit(made, DiSparse(0.5, "snip", batches=2), **settings(fabric=fabric))
        return weights(made)

    one = trained(1)
    for two in in_two(lambda rank: trained(2), tmp_path / "two"):
        assert all(torch.allclose(one[n], two[n], rtol=1e-4, atol=1e-6) for n in one)
        assert all(torch.equal(one[n] == 0, two[n] == 0) for n in one)


@pytest.mark.forks
@pytest.mark.filterwarnings("ignore")
def test_a_training_of_two_processes_goes_on_with_one(tmp_path: Path) -> None:
    root = streams("tar", tmp_path / "set", **SPLITS)
    kept = settings(checkpoint=tmp_path / "checkpoint.pt", checkpoint_every=5, log_every=1)

    def stopped(rank: int) -> dict[str, Any]:
        fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
        fabric.launch()
        with pytest.raises(KeyboardInterrupt):
            fit(problem(streamed("tar", root, batch=6)), **kept, fabric=fabric, on_log=_stopped)
        return {}

    in_two(stopped, tmp_path / "two")
    data: Any = streamed("tar", root, batch=6)
    seen = list[Any]()
    one, rest = problem(data), problem(data, seen)
    fit(one, **settings())
    fit(rest, **kept)
    assert seen[-7:] == numbers(data.train.from_step(5), data, 7)
    found = weights(rest)
    assert all(torch.allclose(v, found[n], rtol=1e-4, atol=1e-6) for n, v in weights(one).items())


@pytest.mark.forks
def test_two_processes_that_see_other_shards_are_told(tmp_path: Path) -> None:
    root = streams("tar", tmp_path / "set", **SPLITS)
    other = streams("tar", tmp_path / "other", **{**SPLITS, "train": list(range(1, 28))})

    def refused(rank: int) -> dict[str, Any]:
        fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
        fabric.launch()
        with pytest.raises(ValueError, match="the first and the last batch of its data"):
            fit(problem(streamed("tar", other if rank else root, batch=6)), **settings(fabric=fabric))
        return {}

    in_two(refused, tmp_path / "two")


@pytest.mark.parametrize(
    "kind", ["tar", *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS if kind != "tar")]
)
def test_the_command_line_trains_on_a_stream(kind: str, tmp_path: Path) -> None:
    root = streams(kind, tmp_path / "set", **SPLITS)
    labels = {"tar": "{kind: cls, count: json.legs}"}.get(kind, "{kind: kind, count: legs}")
    words = [
        "--data",
        "hf_images",
        "--data.root",
        str(root),
        "--data.labels",
        labels,
        "--data.stream",
        "true",
    ]
    words += ["--data.classes", "{kind: 3, count: 5}", "--model", "lim_resnetd50", "--model.width", "0.05"]
    words += ["--model.classify", "[kind, count]", "--size", "16x16", "--batch", "4", "--device", "cpu"]
    out = tmp_path / "run"
    assert main(["train", "magnitude", *words, "--steps", "3", "--workers", "1", "--out", str(out)]) == 0
    assert "accuracy" in json.dumps(json.loads((out / "report.json").read_text()))
    assert main(["evaluate", str(out)]) == 0
