"""An ONNX file of anyone becomes smaller and stays the same network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs onnx: pip install 'secateur[onnx]'")
pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'secateur[onnx]'")

import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from deployment.onnx_files import RNG, matmul, run, same, sparse, written
from secateur.cli import main
from secateur.deployment.sparse import pack


def test_a_file_of_anyone_is_smaller_and_the_same(tmp_path: Path) -> None:
    path = matmul(tmp_path / "any.onnx")
    made = pack(path)
    assert made.path == tmp_path / "any.sparse.onnx"
    assert made.before == path.stat().st_size
    assert made.after == made.path.stat().st_size < 0.16 * made.before
    assert [(w.name, w.elements) for w in made.weights] == [("w", 64 * 256)]
    same(path, made.path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["any.onnx", "any.sparse.onnx"]


def test_other_engines_read_it(tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino", reason="needs openvino: pip install 'secateur[openvino]'")
    path = matmul(tmp_path / "any.onnx")
    x = RNG.standard_normal((3, 64)).astype(np.float32)
    found = [openvino.compile_model(file, "CPU")([x])[0] for file in (path, pack(path).path)]
    assert np.array_equal(*found)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16])
def test_a_weight_of_zeros_alone_is_read_by_every_engine(tmp_path: Path, kind: Any) -> None:
    openvino = pytest.importorskip("openvino", reason="needs openvino: pip install 'secateur[openvino]'")
    code = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Add", ["h", "c"], ["y"])]
    weights = {"w": np.zeros((64, 256), kind), "c": np.zeros((16, 256), kind)}
    path = written(tmp_path / "any.onnx", nodes, weights, kind=code)
    x = RNG.standard_normal((16, 64)).astype(kind)
    for weight in ("sparse", "sparse_float16"):
        made = pack(path, weights=weight)
        assert [(one.name, one.nonzeros) for one in made.weights] == [("w", 0), ("c", 0)]
        same(path, made.path, x)
        assert not openvino.compile_model(made.path, "CPU")([x])[0].any()


def test_an_engine_that_folds_nothing_gets_it_right_too(tmp_path: Path) -> None:
    path = matmul(tmp_path / "any.onnx")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    x = RNG.standard_normal((3, 64)).astype(np.float32)
    plain = onnxruntime.InferenceSession(pack(path).path, options, providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(plain.run(None, {"x": x})[0], run(path, x), rtol=1e-5, atol=1e-5)


def test_rounded_values_are_near_and_said(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = matmul(tmp_path / "any.onnx")
    exact = pack(path, tmp_path / "exact.onnx")
    assert main(["pack", str(path), "--out", str(tmp_path / "half.onnx"), "--weights", "sparse_float16"]) == 0
    assert "rounded to float16" in capsys.readouterr().out
    assert (tmp_path / "half.onnx").stat().st_size < 0.75 * exact.after
    x = RNG.standard_normal((3, 64)).astype(np.float32)
    found, expected = run(tmp_path / "half.onnx", x), run(path, x)
    assert 0 < np.abs(found - expected).max() < 1e-3 * np.abs(expected).max()


def test_what_float16_rounds_to_zero_is_zero(tmp_path: Path) -> None:
    tiny = sparse(64, 256)
    tiny[tiny != 0] *= np.where(RNG.random(np.count_nonzero(tiny)) < 0.2, 1e-9, 1)
    path = written(tmp_path / "any.onnx", [helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": tiny})
    assert pack(path, weights="sparse_float16").after < 0.1 * path.stat().st_size


def test_what_float16_cannot_hold_stays_exact(tmp_path: Path) -> None:
    for scale in (1e5, 1e-9, 1e-6):
        weights = {"w": sparse(64, 256) * np.float32(scale)}
        path = written(tmp_path / "any.onnx", [helper.make_node("MatMul", ["x", "w"], ["y"])], weights)
        same(path, pack(path, weights="sparse_float16").path)


@pytest.mark.parametrize("kind", [np.float16, np.float64])
def test_weights_of_every_kind(tmp_path: Path, kind: Any) -> None:
    code = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    weights = {"w": sparse(64, 256, kind=kind)}
    path = written(tmp_path / "any.onnx", [helper.make_node("MatMul", ["x", "w"], ["y"])], weights, kind=code)
    same(path, pack(path).path, RNG.standard_normal((3, 64)).astype(kind))


def test_quantised_weights(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s"], ["w"]),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    weights = {"q": sparse(64, 512, kind=np.int8, density=0.05), "s": np.array(0.01, np.float32)}
    path = written(tmp_path / "any.onnx", nodes, weights)
    made = pack(path)
    assert made.after < 0.25 * made.before
    same(path, made.path)


def test_weights_in_constants_in_branches_and_in_files_beside(tmp_path: Path) -> None:
    branches = []
    for name in ("then", "else"):
        weight = numpy_helper.from_array(sparse(64, 256), f"w_{name}")
        nodes = [helper.make_node("MatMul", ["h", f"w_{name}"], [f"y_{name}"])]
        end = helper.make_tensor_value_info(f"y_{name}", TensorProto.FLOAT, None)
        branches.append(helper.make_graph(nodes, name, [], [end], [weight]))
    nodes = [
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(sparse(64, 64), "c")),
        helper.make_node("MatMul", ["x", "c"], ["h"]),
        helper.make_node("If", ["which"], ["y"], then_branch=branches[0], else_branch=branches[1]),
    ]
    which = helper.make_tensor_value_info("which", TensorProto.BOOL, [])
    path = written(tmp_path / "any.onnx", nodes, {}, inputs=[which])
    made = pack(path)
    assert {weight.name for weight in made.weights} == {"c", "w_then", "w_else"}
    for value in (True, False):
        same(path, made.path, which=np.array(value))
    beside = tmp_path / "beside"
    beside.mkdir()
    path = matmul(beside / "any.onnx", save_as_external_data=True, location="any.weights", size_threshold=0)
    made = pack(path, tmp_path / "one.onnx")
    assert made.before > 64 * 256 * 4 > 6 * made.after
    same(path, made.path)


def test_a_weight_that_a_caller_may_replace_stays(tmp_path: Path) -> None:
    given = helper.make_tensor_value_info("w", TensorProto.FLOAT, [64, 256])
    path = matmul(tmp_path / "any.onnx", inputs=[given])
    with pytest.raises(ValueError, match="as inputs too"):
        pack(path)


def test_a_file_of_another_kind_is_named_and_not_the_one_that_would_be_written(tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text("")
    for out in (None, tmp_path / "net.onnx"):
        with pytest.raises(ValueError, match=r"odd\.py does not end in \.onnx, .*; give one, such as"):
            pack(tmp_path / "odd.py", out)
    with pytest.raises(FileNotFoundError, match=r"no file at .*none\.py"):
        pack(tmp_path / "none.py")


def test_over_the_file_itself(tmp_path: Path) -> None:
    path = matmul(tmp_path / "any.onnx")
    before = path.read_bytes()
    made = pack(path, path)
    assert path.stat().st_size == made.after < len(before)
    (tmp_path / "before.onnx").write_bytes(before)
    same(tmp_path / "before.onnx", path)
    with pytest.raises(ValueError, match="is packed already"):  # what is packed is not packed again
        pack(path)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.write_bytes(b"no file of ours" * 99), "is no ONNX file"),
        (lambda path: path.write_bytes(b""), "is no ONNX file"),
        (lambda path: None, "check the path"),
        (lambda path: matmul(path, opset=10), "opset 10.*convert"),
        (lambda path: written(path, [helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": sparse(64, 256, density=1.0)}), "prune the"),
    ],
)  # fmt: skip
def test_what_cannot_be_packed_is_refused_and_nothing_written(
    tmp_path: Path, make: Any, said: str, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / "any.onnx"
    make(path)
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises((ValueError, OSError), match=said):
        pack(path)
    assert main(["pack", str(path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_file_makes_us_read_no_other(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"\0" * 4 * 64 * 256)
    folder = tmp_path / "folder"
    folder.mkdir()
    path = matmul(folder / "any.onnx", save_as_external_data=True, location="w", size_threshold=0)
    model = onnx.load(path, load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = "../secret"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match="outside its folder"):
        pack(path)
    assert [file.name for file in folder.iterdir() if "sparse" in file.name] == []
