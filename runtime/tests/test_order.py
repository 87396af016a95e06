"""Outputs that share their zeros form blocks wherever they lie: shuffled, or with some taken out from among them."""

import numpy as np
import pytest

import secateur_runtime
from chained import ALWAYS, NEVER, chain, check
from models import close, conv, helper, model, ours, same, sparse, stock
from quantised import agree, layer

TOGETHER = "outputs brought together"
X = (2, 48, 21, 19)


def notes(data, **options):
    return [one.note for one in secateur_runtime.report(ours(data, **options)).layers]


def weights(outputs=101, inputs=48, kernel=3, pattern=4, scattered=True, density=0.1, seed=0):
    return sparse((outputs, inputs, kernel, kernel), density, np.random.default_rng(seed), pattern, scattered)


@pytest.mark.parametrize("isa", ["", "avx2", "portable"])
@pytest.mark.parametrize(
    ("outputs", "kernel", "attributes"),
    [
        (101, 3, {"pads": [1] * 4}),
        (63, 3, {"pads": [1] * 4, "strides": [2, 2]}),
        (98, 3, {"pads": [4] * 4, "dilations": [4, 4]}),
        (99, 3, {"pads": [12] * 4, "dilations": [12, 12]}),
        (42, 1, {}),
        (300, 1, {"strides": [2, 1]}),
        (102, 3, {"pads": [2, 0, 1, 3], "group": 2}),
        (123, 1, {"group": 3}),
    ],
    ids=str,
)
def test_blocks_are_found_wherever_they_lie(outputs, kernel, attributes, isa):
    groups, random = attributes.get("group", 1), np.random.default_rng(0)
    parts = [weights(outputs // groups, X[1] // groups, kernel, density=0.15, seed=g) for g in range(groups)]
    b, x = random.standard_normal(outputs).astype(np.float32), random.standard_normal(X).astype(np.float32)
    data = conv(X, np.concatenate(parts), b, **attributes)
    for threads in (1, 2):
        try:
            session = same(data, {"x": x}, isa=isa, threads=threads)
        except ValueError:  # instructions that this processor has not
            pytest.skip(isa)
        (one,) = secateur_runtime.report(session).layers
        assert " 4x1 " in one.note, one
        assert TOGETHER in one.note, one
        assert one.density == pytest.approx(
            np.count_nonzero(np.concatenate(parts)) / (outputs * parts[0][0].size)
        )


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("shape", [(2, 42, 21, 19), (1, 42, 1, 1), (42, 1, 1), (1,)], ids=str)
def test_what_is_fused_behind_meets_its_output(shape, kernel):
    random, last = np.random.default_rng(0), "c"
    for activation in ("Relu", "Sigmoid"):
        constants = {"w": weights(42, kernel=kernel), "b": random.standard_normal(42).astype(np.float32)}
        nodes = [
            helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[kernel // 2] * 4),
            helper.make_node("Add", [last, "z"], ["s"]), helper.make_node(activation, ["s"], ["y"]),
        ]  # fmt: skip
        data = model(nodes, {"x": X, "z": shape}, constants)
        feeds = {name: random.standard_normal(s).astype(np.float32) for name, s in (("x", X), ("z", shape))}
        (note,) = notes(data)
        assert "4x1" in note
        assert "2 fused" in note
        assert TOGETHER in note
        same(data, feeds)


def test_three_that_share_stand_for_four():
    """Of each block one is taken out, so that nothing fills its place; sums are written twice, the same."""
    w = np.delete(weights(384, scattered=False), slice(1, None, 4), 0)
    x = np.random.default_rng(1).standard_normal(X).astype(np.float32)
    for kernel in (1, 3):
        part = np.ascontiguousarray(w[:, :, :kernel, :kernel])
        session = same(conv(X, part, pads=[kernel // 2] * 4), {"x": x}, share=4)
        (one,) = secateur_runtime.report(session).layers
        assert TOGETHER in one.note, one
    # An offset and four weights a place. Were the fourth another block's, half as many places more were stored.
    places = np.count_nonzero(w[::3])
    assert one.bytes < 18 * 1.2 * places, (one, places)


@pytest.mark.parametrize("lost", [0, 0.03])
@pytest.mark.parametrize("pattern", [2, 4])
def test_patterns_need_not_be_quite_equal(pattern, lost):
    """As in int8, where weights that are small become zero."""
    random = np.random.default_rng(0)
    w = weights(120, pattern=pattern)
    w[random.random(w.shape) < lost] = 0
    data = conv(X, w, pads=[1] * 4)
    (note,) = notes(data)
    assert f" {pattern}x1 " in note
    assert TOGETHER in note
    same(data, {"x": random.standard_normal(X).astype(np.float32)})


def test_the_order_as_they_stand_is_an_option():
    data = conv(X, weights(), pads=[1] * 4)
    (note,) = notes(data, order=1, share=4)
    assert "4x1" in note
    assert TOGETHER not in note


@pytest.mark.parametrize("density", [0.02, 0.1, 0.5, 1])
def test_random_zeros_stay_as_they_stand(density):
    (note,) = notes(conv(X, weights(pattern=1, density=density), pads=[1] * 4))
    assert " 1x1 " in note or density == 1, note
    assert TOGETHER not in note


@pytest.mark.parametrize("pattern", [2, 4])
def test_blocks_that_stand_where_they_were_trained_stay(pattern):
    (note,) = notes(conv(X, weights(100, pattern=pattern, scattered=False), pads=[1] * 4))
    assert f" {pattern}x1 " in note
    assert TOGETHER not in note


def test_the_numbers_are_those_of_any_order_and_number_of_threads():
    """Each output adds the same products one after another, whatever shares its block: the same bits."""
    w = weights()
    x = {"x": np.random.default_rng(0).standard_normal(X).astype(np.float32)}
    shuffled = np.random.default_rng(1).permutation(len(w))
    first = ours(conv(X, w, pads=[1] * 4)).run(None, x)[0]
    for other in ({"share": 1}, {"share": 2}, {"threads": 2}, {"threads": 3}, {"order": 1}, {}):
        assert np.array_equal(ours(conv(X, w, pads=[1] * 4), **other).run(None, x)[0], first)
    moved = ours(conv(X, w[shuffled], pads=[1] * 4)).run(None, x)[0]
    assert np.array_equal(moved, first[:, shuffled])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("isa", ["", "avx2", "portable"])
def test_chains_read_sums_in_the_order_they_lie_in(isa, threads):
    """Not the first alone: any layer of a chain may have another order than the one before."""
    for others, spread in (((50, 33), True), ((130,), True), ((50, 33), False)):
        data, feeds = chain((70, 3), others, (2, 24, 21, 19), pattern=4, scattered=spread, pads=[1] * 4)
        try:
            session = check(data, feeds, len(others), isa=isa, threads=threads)
        except ValueError:
            pytest.skip(isa)
        layers = secateur_runtime.report(session).layers
        assert [TOGETHER in one.note for one in layers] == [spread] * len(layers), layers
        assert all(" 4x1 " in one.note for one in layers), layers


def test_rows_of_a_block_may_lie_anywhere_among_the_sums():
    data, feeds = chain((900, 1), (900,), (1, 300, 20, 20), pattern=4, scattered=True, density=0.02)
    found = ours(data, chain=ALWAYS).run(None, feeds)[0]
    close(found, stock(data).run(None, feeds)[0])
    assert np.array_equal(found, ours(data, chain=NEVER).run(None, feeds)[0])


@pytest.mark.parametrize("y", ["uint8", "int8", "float32"])
@pytest.mark.parametrize("kernel", [1, 3])
def test_bytes(y, kernel):
    """Where some weights of each block are zero in bytes, too."""
    data, feeds = layer(
        X, (101, 48, kernel, kernel), 0.2, pattern=4, scattered=True, y=y, zero=7, pads=[kernel // 2] * 4
    )
    for threads in (1, 2):
        if y == "float32":
            same(data, feeds, threads=threads)
        else:
            agree(data, feeds, exact=y == "uint8", threads=threads)
    (note,) = notes(data)
    assert "int8 4x1" in note
    assert TOGETHER in note
