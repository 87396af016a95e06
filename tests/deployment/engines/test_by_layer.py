"""What each layer takes bears the name of the user's module, in whatever way the engine has joined and renamed it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from secateur import export
from secateur.deployment.bench import bench
from secateur.deployment.engines import OTHER, layer_times


class Net(nn.Module):
    """BatchNorm that is folded, a weight used twice, a grouped and a transposed convolution, linear layers over two axes and three."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.left, self.right = nn.Conv2d(16, 16, 1), nn.Conv2d(16, 16, 3, padding=1)
        self.mix, self.cls = nn.Linear(16, 16), nn.Linear(16, 5)
        self.up = nn.ConvTranspose2d(16, 4, 2, stride=2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.depthwise(self.stem(x))
        y = torch.relu(self.left(y) + self.right(y))
        y = torch.relu(self.right(y))
        tokens = self.mix(y.flatten(2).transpose(1, 2))
        return {"seg": self.up(y), "cls": self.cls(tokens.mean(1))}


LAYERS = {"stem.0", "depthwise", "left", "right", "mix", "cls", "up"}
X = torch.randn(1, 3, 16, 16)


def net(zeros: float = 0.0) -> Net:
    made = Net().eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter[torch.rand_like(parameter) < zeros] = 0
    return made


@pytest.mark.parametrize(("engine", "suffix"), [("onnxruntime", ".onnx"), ("openvino", ".xml")])
@pytest.mark.parametrize("zeros", [0.0, 0.95])
def test_every_layer_is_found(engine: str, suffix: str, zeros: float, tmp_path: Path) -> None:
    pytest.importorskip(engine)
    path = export(net(zeros), X, tmp_path / f"net{suffix}", dynamic=False)
    found = layer_times(path, [X.numpy()], 1, "f32", engine, 3)
    assert set(found) == LAYERS | {OTHER}
    assert all(ms >= 0 for ms in found.values())
    assert sum(found.values()) > 0


def test_a_layer_with_more_to_do_takes_longer(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path = export(net(), (x := torch.randn(1, 3, 64, 64)), tmp_path / "net.onnx", dynamic=False)
    found = layer_times(path, [x.numpy()], 1, "f32", "onnxruntime", 5)
    assert found["right"] > 2 * found["cls"]


def test_an_engine_that_counts_no_layers_is_not_counted_in_another(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="engine is 'sparse'; onnxruntime and openvino count"):
        layer_times(tmp_path / "net.onnx", [X.numpy()], 1, "f32", "sparse", 1)


@pytest.mark.slow
def test_bench_counts_layers_where_it_is_asked_and_the_engine_can() -> None:
    pytest.importorskip("onnxruntime")
    made = bench({"dense": net()}, X, ["torch", "onnxruntime"], repeats=1, by_layer=True)
    assert {engine: set(times) for engine, times in made.times.items()} == {"onnxruntime": {"dense"}}
    assert set(made.to_dict()["times"]["onnxruntime"]["dense"]) == LAYERS | {OTHER}
    assert bench({"dense": net()}, X, ["torch"], repeats=1).times == {}


class Named(nn.Module):
    """Modules called as if they were weights."""

    def __init__(self) -> None:
        super().__init__()
        self.fuse = nn.ModuleDict({"weight_conv": nn.Conv2d(3, 8, 3), "bias": nn.Conv2d(8, 8, 1)})
        self.neck = nn.ModuleDict({"bias_net": nn.Sequential(nn.Linear(8, 8)), "weight": nn.Linear(8, 2)})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.fuse["bias"](torch.relu(self.fuse["weight_conv"](x))).flatten(2).transpose(1, 2)
        return {"a": self.neck["weight"](torch.relu(self.neck["bias_net"](torch.relu(y))))}


@pytest.mark.parametrize(("engine", "suffix"), [("onnxruntime", ".onnx"), ("openvino", ".xml")])
def test_modules_called_weight_or_bias_are_layers_of_their_own(
    engine: str, suffix: str, tmp_path: Path
) -> None:
    pytest.importorskip(engine)
    path = export(Named().eval(), X, tmp_path / f"net{suffix}", dynamic=False)
    found = layer_times(path, [X.numpy()], 1, "f32", engine, 2)
    assert set(found) - {OTHER} == {"fuse.weight_conv", "fuse.bias", "neck.bias_net.0", "neck.weight"}
