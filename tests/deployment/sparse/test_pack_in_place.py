"""Packing a file in its own place: twice is once, a link stays one, and weights beside it are there until the file is replaced."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs onnx: pip install 'secateur[onnx]'")
pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'secateur[onnx]'")

import onnx
from onnx import helper, numpy_helper

from deployment.onnx_files import RNG, matmul, run, same, sparse, written
from secateur.cli import main
from secateur.deployment.sparse import pack


def test_packed_in_its_own_place_twice_is_once(tmp_path: Path) -> None:
    path = matmul(tmp_path / "any.onnx")
    first = pack(path, path)
    content = path.read_bytes()
    left = tmp_path / ".any.onnx.parts.99999999.partial"
    left.mkdir()  # of a call that was killed when the file was in its place
    again = pack(path, path)
    assert [*tmp_path.iterdir()] == [path]
    assert path.read_bytes() == content
    assert again.weights == first.weights
    assert again.before == again.after == len(content)


def test_a_link_stays_and_the_file_behind_it_is_packed(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    real, link = matmul(tmp_path / "store" / "v1.onnx"), tmp_path / "net.onnx"
    link.symlink_to(real)
    before = real.stat().st_size
    assert main(["pack", str(link), "--out", str(link)]) == 0
    assert link.is_symlink()
    assert real.stat().st_size < 0.2 * before
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["net.onnx", "store", "v1.onnx"]


def test_weights_beside_the_file_are_there_until_it_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a kill comes after the new weights and before the new file."""
    path = matmul(
        tmp_path / "any.onnx", save_as_external_data=True, location="any.onnx.data", size_threshold=0
    )
    x = RNG.standard_normal((3, 64)).astype(np.float32)
    expected, held = run(path, x), (tmp_path / "any.onnx.data").read_bytes()
    monkeypatch.setattr(import_module("secateur.deployment.sparse.pack"), "_LARGEST", 0)
    for _ in range(2):
        pack(path, path)
        assert (tmp_path / "any.onnx.data").read_bytes() == held
        assert np.array_equal(run(path, x), expected)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["any.onnx", "any.onnx.data", "any.onnx.packed.data"]


def test_what_is_packed_already_is_said_and_not_told_to_be_pruned(tmp_path: Path) -> None:
    path, other = matmul(tmp_path / "any.onnx"), tmp_path / "other.onnx"
    pack(path, path)
    with pytest.raises(ValueError, match=r"is packed already: 1 of its weights .* use it as it is"):
        pack(path, other)
    for out in (path, other):  # which said that values were rounded, and left them
        with pytest.raises(
            ValueError, match="packed already, with the values of w as they are, which are not"
        ):
            pack(path, out, weights="sparse_float16")
    rounded = matmul(tmp_path / "rounded.onnx")
    pack(rounded, rounded, weights="sparse_float16")
    assert len(pack(rounded, rounded, weights="sparse_float16").weights) == 1
    with pytest.raises(ValueError, match="is packed already: 1 of its weights"):
        pack(rounded, other, weights="sparse_float16")
    assert not other.exists()


def test_what_is_packed_in_part_is_packed_whole(tmp_path: Path) -> None:
    path = written(
        tmp_path / "two.onnx",
        [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("MatMul", ["h", "v"], ["y"])],
        {"w": sparse(64, 256), "v": np.ones((256, 8), np.float32)},
    )
    pack(path, path)
    model = onnx.load(path)
    (dense,) = (held for held in model.graph.initializer if held.name == "v")
    dense.CopyFrom(numpy_helper.from_array(sparse(256, 8), "v"))
    onnx.save(model, path)
    with pytest.raises(ValueError, match="packed already, with the values of w as they are"):
        pack(path, tmp_path / "half.onnx", weights="sparse_float16")  # of v alone it would be
    assert [weight.name for weight in pack(path, tmp_path / "whole.onnx").weights] == ["v"]
    same(path, tmp_path / "whole.onnx")
