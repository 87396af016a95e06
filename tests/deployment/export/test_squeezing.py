"""Squeezed axes, and what is said of a file that was just written and cannot be read."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from secateur.deployment.engines import UnreadableError, load_engine
from secateur.deployment.export import describe, export

X = torch.randn(2, 3, 8, 8)


class Squeezed(nn.Module):
    """Heads of two channels and of one, all of them squeezed."""

    def __init__(self) -> None:
        super().__init__()
        self.two, self.one, self.classes = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 1, 1), nn.Conv2d(3, 4, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        pooled = self.classes(x).mean((2, 3), keepdim=True)
        return {
            "seg": self.two(x).squeeze(1),
            "depth": self.one(x).squeeze(1),
            "some": torch.squeeze(self.two(x).relu(), (1, -1)),
            "classes": pooled.squeeze((1, 2, 3)),
            "last": pooled.squeeze(-1).squeeze(1).squeeze(-1),
        }


@pytest.mark.parametrize("suffix", [".onnx", ".xml", ".pt2"])
def test_an_axis_that_is_not_1_is_squeezed(tmp_path: Path, suffix: str) -> None:
    if importlib.util.find_spec({".onnx": "onnxscript", ".xml": "openvino"}.get(suffix, "torch")) is None:
        pytest.skip("not installed")
    model = Squeezed().eval()
    path = export(model, X, tmp_path / f"net{suffix}")
    assert describe(path)["dynamic"] == ["batch", "height", "width"]
    x = torch.randn(3, 3, 16, 12)
    with torch.no_grad():
        expected = model(x)
    for task, found in load_engine(path)(x.numpy()).items():
        np.testing.assert_allclose(found, expected[task].numpy(), atol=1e-5)


def test_a_squeezed_batch_is_fixed(tmp_path: Path) -> None:
    class Flat(Squeezed):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"depth": self.one(x).squeeze(0)}

    found = describe(export(Flat(), X, tmp_path / "net.pt2"))
    assert found["dynamic"] == ["height", "width"]


@pytest.mark.parametrize("dynamic", [True, False])
def test_a_written_file_that_cannot_be_read_is_not_to_be_exported_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dynamic: bool
) -> None:
    def unreadable(path: Path) -> Any:
        try:
            raise RuntimeError(f"Load model from {path} failed: an operation is odd")
        except RuntimeError as error:
            raise UnreadableError(f"{path} cannot be loaded; export it again.") from error

    module = importlib.import_module("secateur.deployment.export.export")
    monkeypatch.setattr(module, "load_engine", unreadable)
    with pytest.raises(ValueError, match="pt2 does not take the model") as caught:
        export(Squeezed(), X, tmp_path / "net.pt2", dynamic=dynamic)
    assert "Load model from net.pt2 failed: an operation is odd" in str(caught.value)
    assert "again" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
