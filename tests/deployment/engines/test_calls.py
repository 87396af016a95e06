"""A loaded network is called from several threads, and with what NumPy takes as an array."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from secateur import export
from secateur.deployment.engines import Engine, EngineMissingError, load_engine

ENGINES = [("onnxruntime", ".onnx"), ("sparse", ".onnx"), ("openvino", ".xml"), ("executorch", ".pte"), ("torch", ".pt2")]  # fmt: skip
PACKAGE = {"sparse": "secateur_runtime"}


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1))
        self.head = nn.Conv2d(16, 4, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"y": self.head(torch.relu(self.body(x)))}


def engine(name: str, suffix: str, folder: Path) -> Engine:
    pytest.importorskip(PACKAGE.get(name, name))
    torch.manual_seed(0)
    model = Net().eval()
    with torch.no_grad():
        model.body[2].weight[torch.rand_like(model.body[2].weight) < 0.9] = 0
    try:
        path = export(model, torch.rand(1, 3, 24, 24), folder / f"net{suffix}")
    except EngineMissingError as error:  # for this torch
        pytest.skip(str(error))
    return load_engine(path, threads=1, engine=name)


@pytest.mark.parametrize(("name", "suffix"), ENGINES)
def test_every_thread_gets_what_it_asked_for(name: str, suffix: str, tmp_path: Path) -> None:
    net = engine(name, suffix, tmp_path)
    given = [np.full((1, 3, 24, 24), number, np.float32) for number in range(4)]
    expected = [net(x)["y"] for x in given]
    with ThreadPoolExecutor(4) as threads:
        for _ in range(2):
            found = list(threads.map(lambda i: net(given[i % 4])["y"], range(120)))
            for number, y in enumerate(found):
                np.testing.assert_allclose(y, expected[number % 4], atol=1e-5)


def test_numbers_are_taken_in_any_form_that_numpy_takes(tmp_path: Path) -> None:
    net = engine("onnxruntime", ".onnx", tmp_path)
    x = torch.rand(1, 3, 4, 4)
    expected = net(x.numpy())["y"]
    for same in (x.tolist(), x, x.double().numpy()):
        np.testing.assert_allclose(net(same)["y"], expected, atol=1e-6)
    for wrong in ([[1.0], [1.0, 2.0]], x.requires_grad_(), [["a"]], None):
        with pytest.raises(ValueError, match=r"^x .*; give a NumPy array, such as tensor\.detach"):
            net(wrong)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(("name", "suffix"), [ENGINES[0], *ENGINES[-2:]])
def test_arrays_are_taken_whatever_their_strides(name: str, suffix: str, tmp_path: Path) -> None:
    net = engine(name, suffix, tmp_path)
    x = np.random.default_rng(0).random((1, 3, 24, 24), np.float32)
    for turned in (x[:, :, ::-1], x[:, ::-1], np.asfortranarray(x)):
        (found,) = net.call([turned])
        np.testing.assert_array_equal(found, net.call([np.ascontiguousarray(turned)])[0])
