"""Gemm and MatMul with constant weights, and what is fused behind layers."""

import numpy as np
import onnx
import pytest

import secateur_runtime
from models import close, helper, model, ours, same, sparse, stock

RANDOM = np.random.default_rng(0)
node = helper.make_node


def normal(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 7, 8, 9, 16, 63, 129])
@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("known", [True, False])
def test_gemm(rows, transposed, known):
    w = sparse((70, 50), 0.2)
    constants = {"w": w.T.copy() if transposed else w, "c": normal(50)}
    data = model(
        [node("Gemm", ["x", "w", "c"], ["y"], transB=transposed, alpha=0.5, beta=2.0)],
        {"x": [rows if known else None, 70]},
        constants,
    )
    for threads in (1, 3):
        same(data, {"x": normal(rows, 70)}, threads=threads)


@pytest.mark.parametrize("leading", [(2, 9), (3, 1, 5), (64,), (1, 2)], ids=str)
@pytest.mark.parametrize("share", [0, 1, 2, 4])
def test_matmul(leading, share):
    data = model([node("MatMul", ["x", "w"], ["y"])], {"x": [*leading, 33]}, {"w": sparse((33, 75), 0.2)})
    same(data, {"x": normal(*leading, 33)}, share=share)


def test_a_large_matrix_in_several_blocks_and_panels():
    data = model(
        [node("MatMul", ["x", "w"], ["y"])], {"x": [None, None, 1500]}, {"w": sparse((1500, 2300), 0.02)}
    )
    for shape in [(1, 130, 1500), (2, 3, 1500)]:
        same(data, {"x": normal(*shape)}, threads=2)


ACTIVATIONS = {
    "relu": [node("Relu", ["c"], ["y"])],
    "leaky": [node("LeakyRelu", ["c"], ["y"], alpha=0.2)],
    "clip": [node("Clip", ["c", "low", "high"], ["y"])],
    "clip above": [node("Clip", ["c", "", "high"], ["y"])],
    "sigmoid": [node("Sigmoid", ["c"], ["y"])],
    "hardswish": [node("HardSwish", ["c"], ["y"])],
    "hardsigmoid": [node("HardSigmoid", ["c"], ["y"], alpha=0.3, beta=0.4)],
    "gated": [node("HardSigmoid", ["c"], ["h"], alpha=1 / 6, beta=0.5), node("Mul", ["h", "c"], ["y"])],
    "silu": [node("Sigmoid", ["c"], ["s"]), node("Mul", ["c", "s"], ["y"])],
    "gelu": [node("Gelu", ["c"], ["y"])],
    "gelu tanh": [node("Gelu", ["c"], ["y"], approximate="tanh")],
    "gelu in pieces": [
        node("Div", ["c", "root"], ["d"]), node("Erf", ["d"], ["e"]), node("Add", ["e", "one"], ["a"]),
        node("Mul", ["c", "a"], ["m"]), node("Mul", ["m", "half"], ["y"]),
    ],
    "add": [node("Add", ["c", "r"], ["y"])],
    "add and relu": [node("Add", ["r", "c"], ["a"]), node("Relu", ["a"], ["y"])],
    "relu and add and relu": [node("Relu", ["c"], ["b"]), node("Add", ["b", "r"], ["a"]), node("Relu", ["a"], ["y"])],
}  # fmt: skip
NUMBERS = {"low": -0.5, "high": 1.5, "root": np.sqrt(2), "one": 1, "half": 0.5}


def fused(name, base, x, r, constants):
    nodes = [base, *ACTIVATIONS[name]]
    used = {i for n in nodes for i in n.input}
    constants = constants | {k: np.float32(v) for k, v in NUMBERS.items() if k in used}
    data = model(nodes, {"x": x, **({"r": r} if "r" in used else {})}, constants)
    return data, {"r"} & used


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("kind", ["conv", "direct", "matrix", "tiny"])
def test_fused(name, kind):
    k = {"conv": 3, "direct": 1}.get(kind)
    if k:
        x, y = (2, 20, 13, 11), (2, 36, 13, 11)
        base = node("Conv", ["x", "w"], ["c"], pads=[k // 2] * 4)
        constants = {"w": 3 * sparse((36, 20, k, k), 0.2)}
    else:
        x, y = ((2, 20, 40), (2, 20, 34)) if kind == "matrix" else ((3, 40), (3, 34))
        base, constants = node("MatMul", ["x", "w"], ["c"]), {"w": 3 * sparse((40, 34), 0.2)}
    data, added = fused(name, base, x, y, constants)
    session = same(data, {"x": normal(*x), **({"r": normal(*y)} if added else {})})
    (layer,) = secateur_runtime.report(session).layers
    # ONNX Runtime itself makes one node of a Gelu in pieces, and of an addition to a matrix of two axes.
    wanted = (
        1
        if name == "gelu in pieces"
        else len(ACTIVATIONS[name]) - (kind == "tiny" and name.startswith("add"))
    )
    assert f" {wanted} fused" in layer.note, layer  # all of it


@pytest.mark.parametrize(
    "r",
    [(2, 6, 5, 7), (1, 6, 1, 1), (6, 1, 1), (1,), (5, 7), (2, 1, 5, 7), (1, 6, 5, 1), (1, 1, 1, 7)],
    ids=str,
)
@pytest.mark.parametrize("known", [True, False])
def test_added_tensors_are_broadcast(r, known):
    nodes = [node("Conv", ["x", "w"], ["c"]), node("Add", ["c", "r"], ["a"]), node("Relu", ["a"], ["y"])]
    shapes = {"x": [2, 8, 5, 7], "r": r} if known else {"x": [None] * 4, "r": [None] * len(r)}
    data = model(nodes, shapes, {"w": sparse((6, 8, 1, 1), 0.3)})
    same(data, {"x": normal(2, 8, 5, 7), "r": normal(*r)})


def test_sums_are_broadcast_where_they_are_the_smaller():
    nodes = [node("Conv", ["x", "w"], ["c"]), node("Add", ["c", "r"], ["a"]), node("HardSwish", ["a"], ["y"])]
    data = model(nodes, {"x": [None] * 4, "r": [None] * 4}, {"w": sparse((6, 8, 1, 1), 0.3)})
    same(data, {"x": normal(1, 8, 1, 1), "r": normal(2, 6, 9, 4)})
    nodes = [node("MatMul", ["x", "w"], ["c"]), node("Add", ["c", "r"], ["y"])]
    data = model(nodes, {"x": [None] * 3, "r": [None] * 3}, {"w": sparse((8, 6), 0.3)})
    for x, r in [
        ((1, 3, 8), (4, 3, 6)),
        ((4, 3, 8), (1, 3, 6)),
        ((4, 3, 8), (4, 1, 6)),
        ((4, 3, 8), (4, 3, 1)),
        ((4, 1, 8), (1, 5, 1)),
    ]:
        same(data, {"x": normal(*x), "r": normal(*r)})


def test_a_constant_is_added_to_the_bias():
    for shape in [(6, 1, 1), (1, 6, 1, 1), (1,), (6, 5, 7)]:
        nodes = [
            node("Conv", ["x", "w", "b"], ["c"]),
            node("Add", ["k", "c"], ["a"]),
            node("Relu", ["a"], ["y"]),
        ]
        data = model(
            nodes, {"x": [2, 8, 5, 7]}, {"w": sparse((6, 8, 1, 1), 0.3), "b": normal(6), "k": normal(*shape)}
        )
        same(data, {"x": normal(2, 8, 5, 7)})


def test_one_addition_of_two_of_ours_is_fused_once():
    nodes = [
        node("Conv", ["x", "w"], ["a"]),
        node("Conv", ["x", "v"], ["b"]),
        node("Add", ["a", "b"], ["c"]),
        node("Relu", ["c"], ["y"]),
    ]
    data = model(nodes, {"x": [1, 8, 9, 9]}, {"w": sparse((6, 8, 1, 1), 0.3), "v": sparse((6, 8, 1, 1), 0.3)})
    same(data, {"x": normal(1, 8, 9, 9)}, claimed=2)


def test_what_others_need_is_not_fused_away():
    nodes = [node("Conv", ["x", "w"], ["c"]), node("Relu", ["c"], ["y"]), node("Neg", ["c"], ["z"])]
    data = model(nodes, {"x": [1, 8, 9, 9]}, {"w": sparse((6, 8, 1, 1), 0.3)}, outputs=("y", "z", "c"))
    same(data, {"x": normal(1, 8, 9, 9)})
    nodes = [node("Conv", ["x", "w"], ["c"]), node("Mul", ["c", "c"], ["y"])]
    same(model(nodes, {"x": [1, 8, 9, 9]}, {"w": sparse((6, 8, 1, 1), 0.3)}), {"x": normal(1, 8, 9, 9)})
    nodes = [node("Conv", ["x", "w"], ["c"]), node("Add", ["c", "c"], ["y"])]
    same(model(nodes, {"x": [1, 8, 9, 9]}, {"w": sparse((6, 8, 1, 1), 0.3)}), {"x": normal(1, 8, 9, 9)})


@pytest.mark.parametrize("rows", [1, 3, 8])
def test_dead_outputs_are_their_bias(rows):
    w = sparse((40, 34), 0.2)
    w[:, ::3] = 0
    nodes = [node("Gemm", ["x", "w", "c"], ["h"]), node("Relu", ["h"], ["y"])]
    session = same(model(nodes, {"x": [rows, 40]}, {"w": w, "c": normal(34)}), {"x": normal(rows, 40)})
    assert "few rows" in secateur_runtime.report(session).layers[0].note
    w[:] = 0
    same(model(nodes, {"x": [rows, 40]}, {"w": w, "c": normal(34)}), {"x": normal(rows, 40)})


def test_more_rows_than_the_graph_says():
    nodes = [
        node("Relu", ["x"], ["p"]),
        node("MatMul", ["p", "w"], ["c"]),
        node("Add", ["c", "r"], ["a"]),
        node("Abs", ["a"], ["y"]),
    ]
    constants = {"w": sparse((40, 34), 0.2)}
    whole = onnx.load_from_string(model(nodes, {"x": ["n", 40], "r": ["n", 34]}, constants))
    for name, width in (("p", 40), ("c", 34), ("a", 34)):  # what a tool leaves that makes the batch dynamic
        whole.graph.value_info.append(helper.make_tensor_value_info(name, 1, [1, width]))
    session = same(whole.SerializeToString(), {"x": normal(1, 40), "r": normal(1, 34)})
    assert "few rows" in secateur_runtime.report(session).layers[0].note
    feeds = {"x": normal(20, 40), "r": normal(20, 34)}
    wanted = np.abs(np.maximum(feeds["x"], 0) @ constants["w"] + feeds["r"])
    close(session.run(None, feeds)[0], wanted)


@pytest.mark.parametrize("name", ["sigmoid", "silu", "hardsigmoid", "hardswish", "gelu", "relu", "clip"])
@pytest.mark.parametrize("rows", [3, 40])
def test_not_a_number_stays_one(name, rows):
    data, _ = fused(name, node("MatMul", ["x", "w"], ["c"]), (rows, 40), None, {"w": sparse((40, 34), 0.5)})
    x = np.full((rows, 40), np.nan, np.float32)
    wanted, found = (np.isnan(session.run(None, {"x": x})[0]) for session in (stock(data), ours(data)))
    assert wanted.all()
    assert found.all()


@pytest.mark.parametrize("rows", [3, 40])
def test_infinity_counts_where_it_has_a_weight(rows):
    w, x = sparse((40, 34), 0.1), normal(rows, 40)
    w[0, ::2] = 0
    x[:, 0] = np.inf
    data = model([node("MatMul", ["x", "w"], ["y"])], {"x": [rows, 40]}, {"w": w})
    found = ours(data).run(None, {"x": x})[0]
    alive = np.any(w != 0, 0)
    assert np.isfinite(found[:, alive & (w[0] == 0)]).all()
