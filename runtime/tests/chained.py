"""Chains of 1x1 convolutions behind another, and the provider against ONNX Runtime's own and against itself without chains."""

import numpy as np

import secateur_runtime
from models import close, helper, model, ours, sparse, stock

node = helper.make_node
ALWAYS, NEVER = 2, 1
CHAINED = "in the tiles of the layer before"


def chain(
    first,
    others,
    x,
    activations=("Relu",),
    pattern=1,
    density=0.2,
    scattered=False,
    known=None,
    seed=0,
    **attributes,
):
    """A model of a convolution (outputs, kernel) of `x`, and 1x1 ones with these outputs behind it; the feeds besides."""
    random = np.random.default_rng(seed)
    outputs, kernel = first
    spatial = len(x) - 2
    nodes, constants, last, inputs = [], {}, "x", x[1]
    for i, o in enumerate((outputs, *others)):
        size = (kernel if i == 0 else 1,) * spatial
        constants[f"w{i}"] = sparse((o, inputs, *size), density, random, pattern, scattered)
        constants[f"b{i}"] = random.standard_normal(o).astype(np.float32)
        nodes.append(
            node(
                "Conv", [last, f"w{i}", f"b{i}"], [f"c{i}"], name=f"conv{i}", **(attributes if i == 0 else {})
            )
        )
        last, inputs = f"c{i}", o
        activation = activations[i % len(activations)]
        if activation:
            nodes.append(node(activation, [last], [f"a{i}"]))
            last = f"a{i}"
    data = model(nodes, {"x": known or x}, constants, [last])
    return data, {"x": random.standard_normal(x).astype(np.float32)}


def chained(session):
    """How many layers go on with the tiles of the one before."""
    return sum(CHAINED in layer.note for layer in secateur_runtime.report(session).layers)


def check(data, feeds, count, **options):
    """Chained as ONNX Runtime computes it, and to the bit as one by one."""
    session = ours(data, **{"chain": ALWAYS, **options})
    assert chained(session) == count, str(secateur_runtime.report(session))
    found, expected = session.run(None, feeds), stock(data).run(None, feeds)
    alone = ours(data, **{**options, "chain": NEVER})
    assert chained(alone) == 0
    for one, other, same in zip(found, expected, alone.run(None, feeds), strict=True):
        close(one, other)
        assert np.array_equal(one, same)
    return session


__all__ = ["ALWAYS", "CHAINED", "NEVER", "chain", "chained", "check", "node"]
