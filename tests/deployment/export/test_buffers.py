"""A forward pass that changes the model: no file carries it on, and each begins with what the user's model has."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from secateur.deployment.engines import load_engine
from secateur.deployment.export import describe, export

X = torch.randn(1, 3, 16, 16)


class Averaging(nn.Module):
    """Takes a running mean off, in eval mode too, and counts."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 2, 1)
        self.register_buffer("mean", torch.zeros(6))
        self.calls, self.seen = 0, dict[int, Tensor]()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.stem(x)
        self.calls += 1
        mean = self.mean.mul_(0.5).add_(y.detach().mean((0, 2, 3)), alpha=0.5)
        return {"y": self.head(y - mean[:, None, None]) * (1 if self.calls < 2 else 2)}


@pytest.mark.parametrize("suffix", [".pt2", ".onnx", ".xml"])
@pytest.mark.parametrize("dynamic", [False, True])
def test_a_file_begins_each_time_with_the_buffers_of_the_model(
    tmp_path: Path, suffix: str, dynamic: bool
) -> None:
    pytest.importorskip({".onnx": "onnxscript", ".xml": "openvino"}.get(suffix, "torch"))
    model = Averaging().eval()
    with pytest.warns(UserWarning, match="changes mean in its forward pass"):
        path = export(model, X, tmp_path / f"net{suffix}", dynamic=dynamic)
    found = describe(path)
    assert found["restarts"] == ["mean"]
    assert found["dynamic"] == (["batch", "height", "width"] if dynamic else [])
    assert model.calls == 0
    with torch.no_grad():
        expected = copy.deepcopy(model)(X)["y"].numpy()
    engine = load_engine(path)
    for _ in range(2):
        np.testing.assert_allclose(engine(X.numpy())["y"], expected, atol=1e-5)


def test_int8_is_measured_against_the_same_buffers(tmp_path: Path) -> None:
    for module in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(module)
    model, batches = Averaging().eval(), [torch.randn(1, 3, 16, 16) for _ in range(4)]
    with pytest.warns(UserWarning, match="changes mean"):
        path = export(model, X, tmp_path / "net.onnx", quantize="int8", calibrate=batches, dynamic=False)
    with torch.no_grad():
        expected = copy.deepcopy(model)(X)["y"].numpy()
    off = np.abs(load_engine(path)(X.numpy())["y"] - expected).max() / np.abs(expected).max()
    assert off <= describe(path)["quantized"]["errors"]["y"] + 1e-5


def test_a_model_that_changes_nothing_says_nothing(tmp_path: Path) -> None:
    class Cached(Averaging):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            self.seen.setdefault(0, self.mean + 1)
            return {"y": self.head(self.stem(x) * self.seen[0][:, None, None])}

    assert "restarts" not in describe(export(Cached(), X, tmp_path / "net.pt2"))
