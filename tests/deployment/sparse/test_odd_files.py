"""Files that are odd in names, branches or places of their weights: packed rightly, or refused in a sentence."""

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

from secateur.deployment.sparse import check, pack

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 64)).astype(np.float32)


def weight(*shape: int) -> np.ndarray:
    return (RNG.standard_normal(shape) * (RNG.random(shape) < 0.1)).astype(np.float32)


def written(path: Path, nodes: list[Any], weights: dict[str, np.ndarray], *inputs: Any, **more: Any) -> Path:
    graph = helper.make_graph(
        nodes,
        "odd",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 64]), *inputs],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
        sparse_initializer=more.pop("sparse", []),
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path, **more
    )
    return path


def run(path: Path, **more: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": X, **more})[0]


@pytest.mark.parametrize("part", ["gaps", "values", "shape", "rebuilt"])
@pytest.mark.parametrize("weights", ["sparse", "sparse_float16"])
def test_names_that_we_would_give_are_taken(tmp_path: Path, part: str, weights: Any) -> None:
    """By a weight that is packed as well, by what a node gives, and by an input."""
    own = f"w.{part}"
    matmul = helper.make_node("MatMul", ["x", "w"], ["a"])
    second = helper.make_node("MatMul", ["a", own], ["y"])
    path = written(tmp_path / "weight.onnx", [matmul, second], {"w": weight(64, 256), own: weight(256, 64)})
    made = pack(path, weights=weights)
    assert len(made.weights) == 2
    assert np.allclose(run(path), run(made.path), rtol=0, atol=0 if weights == "sparse" else 0.1)
    inner = [helper.make_node("MatMul", ["x", "w"], [own]), helper.make_node("Relu", [own], ["y"])]
    path = written(tmp_path / "node.onnx", inner, {"w": weight(64, 256)})
    assert np.allclose(run(path), run(pack(path, weights=weights).path), atol=1e-2)
    given = helper.make_tensor_value_info(own, TensorProto.FLOAT, [256])
    path = written(
        tmp_path / "input.onnx", [matmul, helper.make_node("Add", ["a", own], ["y"])], {"w": weight(64, 256)}, given
    )  # fmt: skip
    one = {own: np.ones(256, np.float32)}
    assert np.allclose(run(path, **one), run(pack(path, weights=weights).path, **one), atol=1e-2)


def test_branches_may_call_their_weights_alike(tmp_path: Path) -> None:
    def branch(name: str) -> Any:
        out = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)]
        held = [numpy_helper.from_array(weight(64, 256), "w")]
        return helper.make_graph([helper.make_node("MatMul", ["x", "w"], [name])], name, [], out, held)

    choice = helper.make_node("If", ["c"], ["y"], then_branch=branch("p"), else_branch=branch("q"))
    path = written(
        tmp_path / "if.onnx", [choice], {}, helper.make_tensor_value_info("c", TensorProto.BOOL, [])
    )
    made = pack(path)
    assert len(made.weights) == 2
    for way in (True, False):
        assert np.array_equal(run(path, c=np.array(way)), run(made.path, c=np.array(way)))


def test_weights_that_are_not_read_are_not_lost(tmp_path: Path) -> None:
    dense = weight(64, 256)
    places = np.flatnonzero(dense)
    values = numpy_helper.from_array(dense.reshape(-1)[places], "w")
    sparse = helper.make_sparse_tensor(
        values, numpy_helper.from_array(places.astype(np.int64), "i"), [64, 256]
    )
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("MatMul", ["a", "v"], ["y"])]
    path = written(tmp_path / "s.onnx", nodes, {"v": weight(256, 64)}, sparse=[sparse])
    with pytest.raises(ValueError, match="'w' that can be read: it is a sparse_initializer"):
        pack(path)
    assert [file.name for file in tmp_path.iterdir()] == ["s.onnx"]


def test_a_file_that_no_longer_loads_is_not_written(tmp_path: Path) -> None:
    matmul = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    good = written(tmp_path / "good.onnx", matmul, {"w": weight(64, 256)})
    strange = [helper.make_node("Strange", ["x", "w"], ["y"], domain="theirs")]
    bad = written(tmp_path / "bad.onnx", strange, {"w": weight(64, 256)})
    with pytest.raises(ValueError, match="not what was made of it"):
        check.check_loads(good, bad)
    check.check_loads(bad, bad)


def test_weights_beside_that_are_gone_or_short(tmp_path: Path) -> None:
    matmul = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    path = written(
        tmp_path / "net.onnx", matmul, {"w": weight(64, 256)}, save_as_external_data=True, location="w.data", size_threshold=0
    )  # fmt: skip
    (tmp_path / "w.data").write_bytes(b"12")
    with pytest.raises(ValueError, match=r"w\.data has 2 bytes, and w ends at 65536"):
        pack(path)
    (tmp_path / "w.data").unlink()
    with pytest.raises(ValueError, match=r"w\.data, which is missing"):
        pack(path)
    assert [file.name for file in tmp_path.iterdir()] == ["net.onnx"]


def test_what_cannot_be_asked(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    both = helper.make_tensor_value_info("w", TensorProto.FLOAT, [64, 256])
    path = written(tmp_path / "net.onnx", nodes, {"w": weight(64, 256)}, both)
    with pytest.raises(ValueError, match=r"lists its weights \(w\) as inputs too"):
        pack(path)
    with pytest.raises(ValueError, match="weights is 'dense'"):
        pack(path, weights="dense")
    for out in ("", tmp_path / "net.txt", tmp_path):
        with pytest.raises(ValueError, match=r"ends in \.onnx"):
            pack(path, out)
