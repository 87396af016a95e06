"""An .onnx that one engine reads otherwise than the other is said to be such, and is not run there."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from secateur import export
from secateur.deployment.engines import UnreadableError, load_engine
from secateur.deployment.export import describe


class Halved(nn.Module):
    """OpenVINO shifts negative numbers otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"a": ((self.conv(x) * 8).int() >> 1).float()}


def test_what_an_engine_predicts_otherwise_is_said_and_not_run(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    with pytest.warns(UserWarning, match=r"net\.onnx .* in openvino 'a' is off by .*export to \.xml"):
        path = export(Halved(), torch.randn(1, 3, 16, 16), tmp_path / "net.onnx", dynamic=False)
    assert describe(path)["otherwise"].keys() == {"openvino"}
    assert load_engine(path).about["tasks"].keys() == {"a"}
    with pytest.raises(
        UnreadableError, match=r"something else in openvino \('a' is off .*export the network to \.xml"
    ):
        load_engine(path, engine="openvino")
    with pytest.raises(ValueError, match=r"about has \['otherwise'\]"):
        export(Halved(), torch.randn(1, 3, 16, 16), tmp_path / "other.onnx", about={"otherwise": {}})
