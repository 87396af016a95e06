"""What cannot be exported or read says why, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from problems import TwoHeads
from secateur.deployment.bench import bench
from secateur.deployment.engines import EngineMissingError, load_engine
from secateur.deployment.export import export, require


class Branch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.conv(x)
        if y.mean() > 0:  # the line that stands in the way
            y = y + 1
        return {"seg": y}


def test_untraceable_names_the_line(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"test_export_refusals.py:\d+: .*the line that stands in the way.*torch.where"
    ):
        export(Branch(), torch.randn(1, 3, 8, 8), tmp_path / "net.pt2")


def test_unusable_arguments(tmp_path: Path) -> None:
    model, x, path = TwoHeads(), torch.randn(1, 3, 8, 8), tmp_path / "net.pt2"
    with pytest.raises(ValueError, match=r"choose from the model's tasks \['colour', 'shade'\]"):
        export(model, x, path, tasks=["depth"])
    with pytest.raises(ValueError, match="end in"):
        export(model, x, tmp_path / "net.bin")
    with pytest.raises(ValueError, match=r"end in \.onnx"):
        export(model, x, path, "onnx")
    with pytest.raises(ValueError, match="which export writes itself"):
        export(model, x, path, about={"tasks": 1})
    for name in ("net.onnx", "net.pt2"):  # one took it for sparse, the other for nothing
        with pytest.raises(
            ValueError, match="weights is 'float16'; give one of sparse, sparse_float16, dense"
        ):
            export(model, x, tmp_path / name, weights="float16")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="plain values"):
        export(model, x, path, about={"mean": torch.zeros(3)})
    with pytest.raises(ValueError, match="must return a dict"):
        export(nn.Conv2d(3, 1, 1), x, path)
    assert not list(tmp_path.iterdir())


def test_a_missing_engine_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name in ("onnx", "openvino", "executorch.exir"):
        monkeypatch.setitem(sys.modules, name, None)
    for suffix, extra in ((".onnx", "onnx"), (".xml", "openvino"), (".pte", "executorch")):
        with pytest.raises(EngineMissingError, match=rf"pip install 'secateur\[{extra}\]'"):
            export(TwoHeads(), torch.randn(1, 3, 8, 8), tmp_path / f"net{suffix}")


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(nn.Conv2d(3, 1, 1), (torch.randn(1, 3, 8, 8),)), path)
    with pytest.raises(ValueError, match="no metadata of secateur"):
        load_engine(path)
    with pytest.raises(FileNotFoundError, match="export the model first"):
        load_engine(tmp_path / "none.onnx")
    with pytest.raises(ValueError, match="ends in none of"):
        load_engine(tmp_path / "net.zip")


def test_what_was_there_survives_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    export(TwoHeads(), torch.randn(1, 3, 8, 8), path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="cannot be traced"):
        export(Branch(), torch.randn(1, 3, 8, 8), path)
    assert path.read_bytes() == before


def test_executorch_with_an_old_torch_is_refused_before_anything_is_converted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip(
        "executorch.exir", reason="executorch not installed: pip install 'secateur[executorch]'"
    )
    monkeypatch.setattr(torch, "__version__", "2.11.0+cpu")
    with pytest.raises(
        ImportError, match=r"torch 2\.13 and later, and this is 2\.11\.0\+cpu: pip install --upgrade torch"
    ):
        require("executorch")


def test_what_has_no_values_is_called_so(tmp_path: Path) -> None:
    model, x = TwoHeads(), torch.randn(1, 3, 8, 8)
    with pytest.raises(ValueError, match="export: an input lies on the meta device"):
        export(model, x.to("meta"), tmp_path / "net.pt2")
    model = model.to("meta")
    with pytest.raises(ValueError, match="export: parameters on the meta device have no values"):
        export(model, x, tmp_path / "net.pt2")
    with pytest.raises(ValueError, match="bench: parameters on the meta device have no values"):
        bench({"net": model}, x, engines=["torch"])
