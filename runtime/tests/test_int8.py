"""Quantised layers with zeros: the very integers of ONNX Runtime's CPU provider, in every instruction set."""

import numpy as np
import onnxruntime
import pytest

import secateur_runtime
from models import ours
from quantised import layer

ISAS = ["", "avx2", "portable"]
# inputs, outputs, kernel, stride, dilation, pad, height, width, groups
GRID = [
    (16, 32, 3, 1, 1, 1, 10, 12, 1),
    (64, 48, 3, 1, 2, 2, 31, 41, 1),
    (32, 32, 3, 1, 12, 12, 31, 41, 1),
    (16, 16, 3, 1, 24, 24, 31, 41, 1),
    (8, 16, 7, 2, 1, 3, 33, 71, 1),
    (12, 20, 3, 2, 1, 1, 31, 41, 1),
    (12, 20, 1, 2, 1, 0, 13, 17, 1),
    (8, 8, 5, 3, 2, 4, 29, 23, 1),
    (64, 50, 1, 1, 1, 0, 13, 17, 1),
    (700, 40, 1, 1, 1, 0, 21, 19, 1),
    (30, 40, 1, 1, 1, 0, 1, 1, 1),
    (32, 32, 3, 1, 1, 1, 7, 7, 4),
    (5, 7, 3, 1, 1, 5, 1, 1, 1),
    (4, 6, 1, 1, 1, 2, 5, 5, 1),
    (3, 5, 3, 1, 1, 1, 40, 1, 1),
]


def open_ours(data, claimed=1, **options):
    try:
        session = ours(data, **options)
    except ValueError:  # instructions that this processor has not
        pytest.skip(str(options))
    report = secateur_runtime.report(session)
    assert sum("int8" in one.note for one in report.layers if one.ours) == claimed, str(report)
    return session


def reference(data):
    """ONNX Runtime's CPU provider, with its int8 convolutions (it takes those of uint8 only by itself)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def wide():
    """Does ONNX Runtime multiply bytes exactly here? Without VNNI its sums of two products saturate."""
    return "vnni" in str(secateur_runtime.report(ours(layer([1, 4, 4, 4], (4, 4, 1, 1), 0.5)[0])))


EXACT = wide()


def agree(data, feeds, exact=True, claimed=1, **options):
    """The same integers as ONNX Runtime; where it computes in float32 itself, one in a thousand may be its neighbour."""
    found = open_ours(data, claimed, **options).run(None, feeds)[0]
    expected = reference(data).run(None, feeds)[0]
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    apart = np.abs(found.astype(np.int32) - expected.astype(np.int32))
    if EXACT or not exact:
        assert not apart.size or apart.max() <= (not exact)
        assert np.count_nonzero(apart) <= 1e-3 * apart.size + 1
    return found


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("case", GRID, ids=str)
def test_grid(case, isa):
    c, o, k, s, d, p, height, width, groups = case
    for share, (x, zero), (y, y_zero) in [
        (1, ("uint8", 3), ("uint8", 131)),
        (2, ("int8", -7), ("int8", 0)),
        (4, ("uint8", 255), ("int8", 5)),
    ]:
        data, feeds = layer(
            (2, c, height, width), (o, c // groups, k, k), 0.2, pattern=share, x=x, y=y, zero=zero, y_zero=y_zero,
            y_scale=0.02 * k * np.sqrt(c), strides=[s, s], dilations=[d, d], pads=[p] * 4, group=groups,
        )  # fmt: skip
        found = agree(data, feeds, x == y, share=share, isa=isa)
        assert c * k < 30 or found.size < 100 or len(np.unique(found)) > 20, "the scale makes everything one number"
