"""Where onnxruntime is older than plugin providers (versions.py runs this there): said, and the model runs all the same."""

import numpy as np
import onnxruntime
import pytest

import secateur_runtime
from models import conv, sparse, stock

MODEL = conv([1, 8, 9, 9], sparse((8, 8, 3, 3), 0.1), pads=[1, 1, 1, 1])


def test_it_is_refused_softly():
    with pytest.warns(UserWarning, match=rf"onnxruntime {onnxruntime.__version__} is too old.*pip install"):
        session = secateur_runtime.session(MODEL, threads=1)
    assert session.get_providers() == ["CPUExecutionProvider"]
    assert "without secateur-runtime" in str(secateur_runtime.report(session))
    x = np.random.default_rng(0).standard_normal((1, 8, 9, 9)).astype(np.float32)
    assert np.array_equal(session.run(None, {"x": x})[0], stock(MODEL).run(None, {"x": x})[0])


def test_it_is_an_error_where_that_is_asked_for():
    for call in (secateur_runtime.register, lambda: secateur_runtime.session(MODEL, strict=True)):
        with pytest.raises(secateur_runtime.Unsupported, match="too old"):
            call()
