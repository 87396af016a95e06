"""Files of every format, of one input and of an input for each task, predict and are judged as the network itself."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from secateur import Problem, export
from secateur.cli import main
from secateur.deployment.engines import EngineMissingError
from secateur.measures import evaluate
from secateur.runs import evaluate_file, make_problem
from secateur.runs.config import Config

ENGINES = {".onnx": "onnxruntime", ".xml": "openvino", ".pte": "executorch", ".pt2": "torch"}
TASKS = {"seg": 13, "depth": 1}
ROOMS = {"name": "rooms", "tasks": list(TASKS), "train_count": 4, "val_count": 4, "test_count": 5}
ABOUT = {
    "mean": [0.4, 0.5, 0.6],
    "std": [0.2, 0.3, 0.25],
    "pictures": {"seg": "segmentation", "depth": "depth"},
    "classes": {"seg": [f"c{i}" for i in range(13)]},
}


class Shared(nn.Module):
    """One input for all tasks."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
        self.heads = nn.ModuleDict({task: nn.Conv2d(8, channels, 1) for task, channels in TASKS.items()})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.body(x)
        return {task: head(y) for task, head in self.heads.items()}


class Apart(Shared):
    """An input for each task, as many as there are."""

    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        return {task: self.heads[task](self.body(one)) for task, one in x.items()}


def net(apart: bool) -> Shared:
    torch.manual_seed(0)
    return (Apart() if apart else Shared()).eval()


@pytest.fixture(scope="module", params=[False, True], ids=["shared", "apart"])
def apart(request: pytest.FixtureRequest) -> bool:
    return request.param


@pytest.fixture(scope="module", params=list(ENGINES))
def path(request: pytest.FixtureRequest, apart: bool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    suffix = request.param
    if not importlib.util.find_spec(ENGINES[suffix]):
        pytest.skip(f"needs {ENGINES[suffix]}")
    x = torch.randn(1, 3, 24, 32, generator=torch.Generator().manual_seed(1))
    example = dict.fromkeys(TASKS, x) if apart else x
    path = tmp_path_factory.mktemp("files") / f"net{suffix}"
    try:
        return export(net(apart), example, path, about=ABOUT, dynamic=suffix != ".pte")
    except EngineMissingError as missing:
        pytest.skip(str(missing))


def test_it_predicts_what_the_network_does(path: Path, apart: bool, tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "photo.png")
    out = tmp_path / "seen"
    assert main(["predict", str(path), str(tmp_path / "photo.png"), "--out", str(out), "--raw"]) == 0
    assert {p.name for p in out.iterdir()} == {"photo.png", "photo.npz", "photo.seg.png", "photo.depth.png"}
    mean, std = (torch.tensor(ABOUT[key]).view(3, 1, 1) for key in ("mean", "std"))
    x = (torch.from_numpy(picture).permute(2, 0, 1) / 255 - mean) / std
    with torch.no_grad():
        wanted = net(apart)(dict.fromkeys(TASKS, x[None]) if apart else x[None])
    found = np.load(out / "photo.npz")
    for task in TASKS:
        assert np.allclose(found[task], wanted[task][0].numpy(), atol=1e-4), task


def test_its_metrics_are_those_of_the_network(path: Path, apart: bool) -> None:
    """Of a file with an input for each task too, which are all given the one picture that these data have."""
    config: Config = {"data": ROOMS, "model": {"name": "deeplab_resnet34", "width": 0.05}}
    _, data = make_problem(config | {"size": "24x32", "batch": 2, "seed": 0})
    scale = [torch.tensor(v).view(3, 1, 1) for v in (data.std, data.mean, ABOUT["mean"], ABOUT["std"])]
    call = lambda model, x: model(dict.fromkeys(TASKS, moved(x, scale)) if apart else moved(x, scale))  # noqa: E731
    problem = Problem(net(apart), data.tasks, data.train, data.val, data.test, call=call)
    wanted = evaluate(problem, "test")
    found = evaluate_file(path, data=ROOMS, batch=2)
    for task in TASKS:
        assert found[task] == pytest.approx(wanted[task], rel=1e-3, abs=1e-4)


def moved(x: Tensor, scale: list[Tensor]) -> Tensor:
    """Normalised as the file says, where it was as the data say."""
    std, mean, own_mean, own_std = scale
    return (x * std + mean - own_mean) / own_std
