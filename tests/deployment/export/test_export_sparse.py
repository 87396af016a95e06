"""A sparse network is a sparse file: smaller, of any batch and size, and the same in every engine that reads ONNX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("onnx", reason="needs onnx: pip install 'secateur[onnx]'")
pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'secateur[onnx]'")

from secateur.deployment.engines import load_engine
from secateur.deployment.export import describe, export
from secateur.deployment.sparse import pack


class Net(nn.Module):
    """Two tasks on a trunk of 90 % zeros; a sum of a stack, which once fixed the sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1))
        self.seg, self.depth = nn.Conv2d(64, 5, 1), nn.Conv2d(64, 1, 1)
        for parameter in self.trunk.parameters():
            parameter.data *= torch.rand_like(parameter) < 0.1

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = self.trunk(x)
        features = torch.stack([features, features.relu()]).sum(0)
        return {"seg": self.seg(features), "depth": self.depth(features)}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    torch.manual_seed(0)
    model, folder, x = Net(), tmp_path_factory.mktemp("files"), torch.randn(1, 3, 16, 24)
    kinds = ("sparse", "sparse_float16", "dense")
    return {kind: export(model, x, folder / f"{kind}.onnx", weights=kind) for kind in kinds}


def test_smaller_and_as_free_as_the_dense_file(files: dict[str, Path]) -> None:
    sizes = {kind: path.stat().st_size for kind, path in files.items()}
    assert sizes["sparse_float16"] < sizes["sparse"] < 0.25 * sizes["dense"]
    for kind, path in files.items():
        about = describe(path)
        assert about["weights"] == kind
        assert about["dynamic"] == ["batch", "height", "width"]


@pytest.mark.parametrize("shape", [(1, 3, 16, 24), (2, 3, 40, 33)])
def test_the_same_bits_as_the_dense_file(files: dict[str, Path], shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    found = {kind: load_engine(path)(x) for kind, path in files.items()}
    for task, expected in found["dense"].items():
        assert np.array_equal(found["sparse"][task], expected)
        error = np.abs(found["sparse_float16"][task] - expected).max() / np.abs(expected).max()
        assert 0 < error < 1e-2


def test_a_file_of_ours_may_be_packed_later(files: dict[str, Path], tmp_path: Path) -> None:
    made = pack(files["dense"], tmp_path / "packed.onnx")
    assert made.after < 0.25 * made.before
    x = np.zeros((1, 3, 16, 24), np.float32)
    for task, expected in load_engine(files["dense"])(x).items():
        assert np.array_equal(load_engine(made.path)(x)[task], expected)
    half = pack(files["dense"], tmp_path / "half.onnx", weights="sparse_float16").path
    again = pack(half, half).path  # rounded it stays
    told = [describe(path)["weights"] for path in (files["dense"], made.path, half, again)]
    assert told == ["dense", "sparse", "sparse_float16", "sparse_float16"]
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(files["dense"].read_bytes().replace(b"seg", b"sag", 1))
    with pytest.raises(ValueError, match="damaged"):
        pack(cut)


def test_a_dense_network_is_a_dense_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict({"trunk": nn.Conv2d(3, 64, 3)})
    model.forward = lambda x: {"a": model["trunk"](x)}
    path = export(model, torch.randn(1, 3, 8, 8), tmp_path / "net.onnx")
    assert b"ScatterElements" not in path.read_bytes()


def test_rounding_is_refused_where_it_cannot_be_had(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ONNX alone"):
        export(Net(), torch.randn(1, 3, 16, 24), tmp_path / "net.pt2", weights="sparse_float16")
    assert not list(tmp_path.iterdir())
