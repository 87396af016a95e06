"""Chains of layers a tile at a time: what ONNX Runtime computes, and where a chain ends."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import secateur_runtime
from chained import ALWAYS, CHAINED, NEVER, chain, chained, check, node
from models import close, model, ours, sparse, stock

# outputs and kernel of the first layer, outputs of the others, shape of x, attributes of the first
GRID = [
    ((40, 3), (50,), (2, 16, 31, 41), {"pads": [1] * 4}),
    ((40, 3), (50, 3), (1, 16, 31, 41), {"pads": [12] * 4, "dilations": [12, 12]}),
    ((33, 3), (17, 64, 5), (2, 8, 31, 41), {"pads": [24] * 4, "dilations": [24, 24]}),
    ((24, 3), (30, 30), (1, 6, 33, 29), {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    ((50, 1), (300, 20), (1, 300, 20, 21), {}),
    ((20, 5), (30,), (2, 7, 90), {"pads": [2, 2]}),
    ((20, 3), (30,), (3, 8, 5, 5), {"pads": [2, 0, 1, 3]}),
]


@pytest.mark.parametrize("isa", ["", "avx2", "portable"])
@pytest.mark.parametrize("case", GRID, ids=str)
def test_grid(case, isa):
    first, others, x, attributes = case
    for share in (1, 2, 4):
        data, feeds = chain(first, others, x, pattern=share, **attributes)
        try:
            check(data, feeds, len(others), share=share, isa=isa)
        except ValueError:  # instructions that this processor has not
            pytest.skip(isa)


@pytest.mark.parametrize("activation", ["Relu", "Sigmoid", "HardSwish", "Gelu", "LeakyRelu", None])
def test_activations_between(activation):
    check(*chain((40, 3), (50, 21), (1, 16, 20, 23), (activation,), pads=[1] * 4), 2)


@st.composite
def chains(draw):
    number = lambda low, high: draw(st.integers(low, high))  # noqa: E731
    kernel, dilation = number(1, 3), number(1, 9)
    x = (number(1, 3), number(1, 40) if kernel > 1 else number(201, 300), number(1, 25), number(1, 40))
    pads = [number(0, 4) + (dilation * (kernel - 1) + 1) // 2 for _ in range(4)] if kernel > 1 else [0] * 4
    attributes = {
        "pads": pads,
        "dilations": [dilation] * 2,
        "strides": [number(1, 2) if kernel > 1 else 1] * 2,
    }
    others = draw(st.lists(st.integers(1, 90), min_size=1, max_size=5))
    return (number(17, 90), kernel), others, x, attributes, number(0, 2**31), draw(st.sampled_from([1, 2, 4]))


@settings(max_examples=40, deadline=None)
@given(chains(), st.sampled_from([0.0, 0.05, 0.3, 1.0]), st.integers(1, 3))
def test_whatever_chains_there_are(case, density, threads):
    first, others, x, attributes, seed, pattern = case
    data, feeds = chain(first, others, x, density=density, seed=seed, pattern=pattern, **attributes)
    (expected,) = stock(data).run(None, feeds)
    (found,) = ours(data, threads=threads, chain=ALWAYS).run(None, feeds)
    close(found, expected)
    assert np.array_equal(found, ours(data, threads=threads, chain=NEVER).run(None, feeds)[0])


@pytest.mark.parametrize("shape", [(2, 30, 20, 23), (1, 30, 1, 1), (1,), (20, 1), (2, 1, 20, 23), (4, 2, 30, 20, 23)], ids=str)  # fmt: skip
def test_an_addition_at_the_end(shape):
    random = np.random.default_rng(0)
    x = (2, 16, 20, 23)
    constants = {"w": sparse((40, 16, 3, 3), 0.2, random), "v": sparse((30, 40, 1, 1), 0.2, random)}
    nodes = [
        node("Conv", ["x", "w"], ["c"], pads=[1] * 4), node("Relu", ["c"], ["r"]), node("Conv", ["r", "v"], ["d"]),
        node("Add", ["d", "z"], ["s"]), node("Relu", ["s"], ["y"]),
    ]  # fmt: skip
    feeds = {name: random.standard_normal(s).astype(np.float32) for name, s in (("x", x), ("z", shape))}
    check(model(nodes, {"x": x, "z": shape}, constants), feeds, 1)


def test_a_residual_block_adds_what_went_in():
    random = np.random.default_rng(0)
    constants = {"w": sparse((40, 64, 3, 3), 0.2, random), "v": sparse((64, 40, 1, 1), 0.2, random)}
    nodes = [
        node("Conv", ["x", "w"], ["c"], pads=[1] * 4), node("Relu", ["c"], ["r"]), node("Conv", ["r", "v"], ["d"]),
        node("Add", ["x", "d"], ["s"]), node("Relu", ["s"], ["y"]),
    ]  # fmt: skip
    x = random.standard_normal((1, 64, 20, 23)).astype(np.float32)
    check(model(nodes, {"x": x.shape}, constants), {"x": x}, 1)


def ending(second, between="c", outputs=("y",), more=(), group=1, **attributes):
    """A 3x3 layer and a second one, which something keeps from going on with the tiles of the first."""
    random = np.random.default_rng(0)
    constants = {
        "w": sparse((40, 16, 3, 3), 0.2, random),
        "v": sparse((40, 40 // group, *second), 0.2, random),
    }
    nodes = [
        node("Conv", ["x", "w"], ["c"], pads=[1] * 4), *more, node("Conv", [between, "v"], ["y"], group=group, **attributes)
    ]  # fmt: skip
    return model(nodes, {"x": (1, 16, 20, 23)}, constants, outputs)


@pytest.mark.parametrize(
    "data",
    [
        ending((1, 1), outputs=("y", "c")),
        ending((1, 1), strides=[2, 2]),
        ending((1, 1), pads=[1] * 4),
        ending((3, 3), pads=[1] * 4),
        ending((1, 1), group=2),
        ending((1, 1), "m", more=[node("MaxPool", ["c"], ["m"], kernel_shape=[1, 1])]),
        ending((1, 1), outputs=("y", "e"), more=[node("Exp", ["c"], ["e"])]),
        ending((1, 1), outputs=("t",), more=[node("Add", ["y", "c"], ["t"])]),
    ],
    ids=["an output", "a stride", "padding", "a kernel", "groups", "a pool", "another reader", "its own sum"],
)
def test_where_a_chain_ends(data):
    check(data, {"x": np.random.default_rng(0).standard_normal((1, 16, 20, 23)).astype(np.float32)}, 0)


def test_sizes_that_are_known_only_when_it_runs():
    data, _ = chain((40, 3), (50, 21), (1, 16, 20, 23), known=[None] * 4, pads=[6] * 4, dilations=[6, 6])
    session = ours(data, chain=ALWAYS, threads=2)
    assert chained(session) == 2
    for shape in [
        (1, 16, 31, 41),
        (3, 16, 7, 5),
        (1, 16, 1, 1),
        (0, 16, 9, 9),
        (2, 16, 64, 3),
        (1, 16, 31, 41),
    ]:
        x = {"x": np.random.default_rng(1).standard_normal(shape).astype(np.float32)}
        close(session.run(None, x)[0], stock(data).run(None, x)[0])
    for wrong in [(1, 15, 9, 9), (1, 16, 9)]:
        with pytest.raises(Exception, match=r"rank|dims|channels|INVALID|Invalid"):
            session.run(None, {"x": np.ones(wrong, np.float32)})


def test_many_threads_and_sessions_at_once():
    data, feeds = chain((64, 3), (96, 13), (1, 48, 31, 41), pads=[1] * 4)
    expected = stock(data).run(None, feeds)[0]
    sessions = [ours(data, chain=ALWAYS, threads=n) for n in (1, 2, 3)]
    first = [session.run(None, feeds)[0] for session in sessions]
    wrong = []

    def work(session, same):
        for _ in range(10):
            if not np.array_equal(session.run(None, feeds)[0], same):
                wrong.append(1)

    threads = [
        threading.Thread(target=work, args=pair) for pair in list(zip(sessions, first, strict=True)) * 3
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    for session, found in zip(sessions, first, strict=True):
        assert chained(session) == 2
        close(found, expected)


def test_a_report_has_a_line_for_each_layer_of_a_chain():
    data, feeds = chain((128, 3), (256, 13), (1, 128, 31, 41), density=0.1, pads=[6] * 4, dilations=[6, 6])
    session = secateur_runtime.session(data, threads=1, strict=True)  # as the cost model chooses
    for _ in range(3):
        session.run(None, feeds)
    layers = secateur_runtime.report(session).layers
    assert [layer.name for layer in layers] == ["conv0", "conv1", "conv2"]
    assert [CHAINED in layer.note for layer in layers] == [False, True, True]
    for layer in layers:
        assert (layer.ours, layer.calls) == (True, 3)
        assert 0 < layer.best <= layer.mean
        assert layer.density == pytest.approx(0.1, abs=0.03)
        assert layer.bytes > 0
    assert layers[0].best > layers[1].best > layers[2].best


def test_a_chain_that_would_be_slower_is_not_one():
    """Cut into many small regions for its taps, the tiles of a small layer are no good for a large one behind it."""
    data, _ = chain((64, 3), (1024,), (1, 32, 15, 20), density=0.1, pads=[12] * 4, dilations=[12, 12])
    assert chained(secateur_runtime.session(data, threads=1, options={"force": 1}, strict=True)) == 0
    assert chained(ours(data, chain=ALWAYS)) == 1


def test_sums_that_are_too_large_are_no_chain():
    data, _ = chain((4000, 1), (4000,), (1, 300, 8, 8), density=0.002)
    assert chained(ours(data, chain=ALWAYS)) == 0


def test_numbers_that_are_not_finite_stay_in_their_pixels():
    data, feeds = chain((40, 3), (50, 21), (1, 16, 20, 23), density=1, pads=[1] * 4)
    feeds["x"][0, 3, 10, 10] = np.inf
    found, expected = ours(data, chain=ALWAYS).run(None, feeds)[0], stock(data).run(None, feeds)[0]
    assert np.array_equal(np.isfinite(found), np.isfinite(expected))


def test_weights_of_zeros_alone():
    check(*chain((40, 3), (50, 21), (1, 16, 20, 23), density=0, pads=[1] * 4), 2)
