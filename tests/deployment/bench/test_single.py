"""Layers and weights by themselves: the files that are timed compute what they stand for, and both engines run them."""

from __future__ import annotations

import numpy as np
import pytest

from secateur.deployment.bench import LayerEngine, Single, layer_ms, single, weights_ms

onnx = pytest.importorskip("onnx", reason="needs onnx: pip install 'secateur[onnx]'")
POINTWISE = Single(4, 3, (1, 2, 2), 1, (1, 1), (1, 1), (0, 0), (1, 1))


def computed(model: bytes, x: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """What a file makes of ``x``, and its constants."""
    from onnx.reference import ReferenceEvaluator

    proto = onnx.load_from_string(model)
    (y,) = ReferenceEvaluator(proto).run(None, {"x": x})
    return y, {held.name: onnx.numpy_helper.to_array(held) for held in proto.graph.initializer}


@pytest.mark.parametrize("count", [1, 2, 9])
def test_layers_side_by_side_are_added_up(count: int) -> None:
    model, x = single._model(POINTWISE, count)
    y, held = computed(model, x)
    total = sum(
        np.einsum("oi,nihw->nohw", held[f"w{one}"][..., 0, 0], x) + held[f"b{one}"][:, None, None]
        for one in range(count)
    )
    np.testing.assert_allclose(y, np.maximum(total, 0), rtol=1e-4, atol=1e-5)


def test_a_chain_reads_each_megabyte_once() -> None:
    model, x = single._chain(3)
    y, held = computed(model, x)
    assert [weight.nbytes for weight in held.values()] == [2**20] * 3
    for weight in held.values():
        x = np.maximum(x @ weight, 0)
    np.testing.assert_allclose(y, x, rtol=1e-3, atol=1e-4)
    assert y.any(), "numbers that die out would be multiplied faster"


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_both_engines_time_them(engine: LayerEngine) -> None:
    pytest.importorskip(engine, reason=f"needs {engine}: pip install 'secateur[{engine}]'")
    assert layer_ms(POINTWISE, engine).ms > 0  # so little that several are timed
    assert all(found.ms > 0 for found in weights_ms([1, 2], engine))
