"""Sessions as users have them: options, threads, reports, and models with nothing to gain."""

import sys
import threading
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest

import secateur_runtime
from models import close, conv, helper, numpy_helper, ours, sparse, stock

where = sys.modules["secateur_runtime.library"]  # the module; the package has a function of that name
PADS = {"pads": [1, 1, 1, 1]}


def pruned(density=0.1, channels=128):
    return conv(
        [1, channels, 31, 41], sparse((channels, channels, 3, 3), density, np.random.default_rng(0)), **PADS
    )


def image(channels=128):
    return {"x": np.random.default_rng(1).standard_normal((1, channels, 31, 41)).astype(np.float32)}


def test_a_file_and_its_bytes(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(pruned())
    for source in (path, str(path), pruned()):
        session = secateur_runtime.session(source, threads=1, strict=True)
        assert isinstance(session, onnxruntime.InferenceSession)
        close(session.run(None, image())[0], stock(pruned()).run(None, image())[0])


def test_options_of_onnx_runtime_are_those_of_one_session():
    own = onnxruntime.SessionOptions()
    own.log_severity_level = 3
    close(
        secateur_runtime.session(pruned(), session_options=own, strict=True).run(None, image())[0],
        stock(pruned()).run(None, image())[0],
    )
    with pytest.raises(
        ValueError, match="of another session already, or of a model that failed to open; make new ones"
    ):
        secateur_runtime.session(pruned(), session_options=own)


def test_options_of_an_open_that_failed_say_so():
    own = onnxruntime.SessionOptions()
    with pytest.raises(Exception, match=r"[Pp]rotobuf|parse"):
        secateur_runtime.session(pruned()[:100], session_options=own, strict=True)
    with pytest.raises(ValueError, match="or of a model that failed to open; make new ones for each try"):
        secateur_runtime.session(pruned(), session_options=own, strict=True)


def test_what_is_no_model_and_what_are_no_options():
    for source in (bytearray(pruned()), memoryview(pruned())):
        secateur_runtime.session(source, threads=1, strict=True)
    with pytest.raises(
        TypeError, match=r"model is a ModelProto; give the path .* its bytes \(model\.Serialize"
    ):
        secateur_runtime.session(onnx.load_from_string(pruned()))
    for model in (None, 3, [b"x"]):
        with pytest.raises(TypeError, match=r"give the path of an ONNX file, or its bytes$"):
            secateur_runtime.session(model)
    for options in ([("force", 1)], "force", 0):
        with pytest.raises(TypeError, match=r"options is a \w+; give a mapping"):
            secateur_runtime.session(pruned(), options=options)
    with pytest.raises(ValueError, match="no option 1: "):
        secateur_runtime.session(pruned(), options={1: 1})
    with pytest.raises(TypeError, match=r"session_options is a dict; give onnxruntime\.SessionOptions"):
        secateur_runtime.session(pruned(), session_options={})


def test_a_report_tells_who_runs_what_and_how_long():
    session = secateur_runtime.session(pruned(), threads=1, strict=True)
    before = secateur_runtime.report(session)
    assert "of 1 convolutions" in str(before)
    assert before.layers[0].calls == 0
    for _ in range(3):
        session.run(None, image())
    (layer,) = secateur_runtime.report(session).layers
    assert layer.ours
    assert layer.calls == 3
    assert 0 < layer.best <= layer.mean
    assert layer.density == pytest.approx(0.1, abs=0.01)
    assert layer.bytes < 128 * 128 * 9 * 4 * 0.25  # of the dense weights


def test_a_model_with_nothing_to_gain_runs_as_stock_and_says_so():
    session = secateur_runtime.session(pruned(density=1), threads=1, strict=True)
    report = secateur_runtime.report(session)
    assert not report.layers[0].ours
    assert "as in plain ONNX Runtime" in str(report)
    assert "nothing to gain" in str(report)
    assert np.array_equal(session.run(None, image())[0], stock(pruned(density=1)).run(None, image())[0])


def test_a_session_of_others_has_an_empty_report():
    assert "without" in str(secateur_runtime.report(stock(pruned())))


def test_an_option_that_there_is_none_of():
    with pytest.raises(ValueError, match="did you mean 'share'"):
        secateur_runtime.session(pruned(), options={"shrae": 1})
    with pytest.raises(ValueError, match="force is"):
        secateur_runtime.session(pruned(), options={"xyz": 1})
    for threads in (0, -1, "a", 1.5, True):
        with pytest.raises(ValueError, match=r"threads is .* 1 or more, a whole number"):
            secateur_runtime.session(pruned(), threads=threads)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such file; give the path of an ONNX file, or its bytes"):
        secateur_runtime.session(tmp_path / "net.onnx")


@pytest.mark.parametrize(
    ("key", "value"),
    [("share", 3), ("share", -1), ("force", 2), ("isa", "sse9"), ("share", "x"), ("chain", 3), ("order", 2)],
)
def test_a_value_that_an_option_cannot_have(key, value):
    with pytest.raises(ValueError, match=key):
        secateur_runtime.session(pruned(), options={key: value}, strict=True)


def test_each_instruction_set_is_expected_to_be_as_fast_as_it_is():
    """A slow one that was asked for once is not what later sessions expect of theirs, nor ever of ONNX Runtime."""
    reports = [
        secateur_runtime.report(
            secateur_runtime.session(pruned(), threads=1, strict=True, options={"isa": isa})
        )
        for isa in ("portable", "")
    ]
    if reports[1].instructions in ("portable", "neon"):
        pytest.skip("as wide as the portable ones")
    slow, fast = (report.layers[0] for report in reports)
    assert fast.expected < 0.8 * slow.expected
    assert slow.dense < 1.2 * fast.dense


def test_results_are_the_same_each_time_and_for_each_thread():
    session = ours(pruned(), threads=2)
    expected = session.run(None, image())[0]
    for _ in range(5):
        assert np.array_equal(session.run(None, image())[0], expected)


def test_many_threads_and_sessions_at_once():
    sessions = [ours(pruned(channels=48), threads=n) for n in (1, 2, 7)]
    expected = stock(pruned(channels=48)).run(None, image(48))[0]
    wrong = []

    def work(session):
        for _ in range(15):
            found = session.run(None, image(48))[0]
            if not np.allclose(found, expected, atol=1e-5 * np.abs(expected).max()):
                wrong.append(1)

    threads = [threading.Thread(target=work, args=(session,)) for session in sessions * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    for session in sessions:
        assert secateur_runtime.report(session).layers[0].calls == 45


def test_plain_onnxruntime_can_ask_for_the_provider():
    """As a program in another language does it, without this package's session."""
    name = secateur_runtime.register()
    assert secateur_runtime.library().is_absolute()
    options = onnxruntime.SessionOptions()
    device = next(d for d in onnxruntime.get_ep_devices() if d.ep_name == name)
    options.add_provider_for_devices([device], {"force": "1"})
    session = onnxruntime.InferenceSession(pruned(), options)
    close(session.run(None, image())[0], stock(pruned()).run(None, image())[0])


def test_an_old_onnxruntime_is_refused_softly(monkeypatch):
    monkeypatch.setattr(where, "version", lambda: (1, 22, 0))
    where.register.cache_clear()
    with pytest.raises(secateur_runtime.Unsupported, match="pip install"):
        secateur_runtime.session(pruned(), strict=True)
    with pytest.warns(UserWarning, match="too old"):
        session = secateur_runtime.session(pruned())
    where.register.cache_clear()
    assert session.get_providers() == ["CPUExecutionProvider"]


def test_nothing_is_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        secateur_runtime.session(pruned(), threads=1)


def test_the_weights_of_a_claimed_layer_are_dropped():
    """What is packed is all that is kept: a layer's dense copy would be ten times as large."""
    session = ours(pruned(density=0.02, channels=256))
    (layer,) = secateur_runtime.report(session).layers
    assert layer.bytes < 256 * 256 * 9 * 4 * 0.1


def test_the_library_is_registered_once_however_often_it_is_asked():
    assert secateur_runtime.register() == secateur_runtime.register()
    where.register.cache_clear()
    assert secateur_runtime.register() == secateur_runtime.PROVIDER
    assert sum(device.ep_name == secateur_runtime.PROVIDER for device in onnxruntime.get_ep_devices()) == 1


def test_more_threads_than_cores():
    close(
        ours(pruned(channels=32), threads=64).run(None, image(32))[0],
        stock(pruned(channels=32)).run(None, image(32))[0],
    )


def test_layers_in_the_branches_of_an_if():
    """They are left to ONNX Runtime, whose releases before 1.32 confuse pieces of two branches."""
    w, v = sparse((8, 8, 3, 3), 0.2), sparse((8, 8, 3, 3), 0.2)
    info = helper.make_tensor_value_info
    branches = [
        helper.make_graph(
            [helper.make_node("Conv", ["x", weights], [f"c{i}"], **PADS), helper.make_node("Relu", [f"c{i}"], [f"y{i}"])],
            f"b{i}", [], [info(f"y{i}", onnx.TensorProto.FLOAT, None)], constants,
        )
        for i, (weights, constants) in enumerate([("w", []), ("v", [numpy_helper.from_array(v, "v")])])
    ]  # fmt: skip
    choice = helper.make_node("If", ["which"], ["y"], then_branch=branches[0], else_branch=branches[1])
    inputs = [info("x", onnx.TensorProto.FLOAT, [1, 8, 9, 9]), info("which", onnx.TensorProto.BOOL, [])]
    outputs = [info("y", onnx.TensorProto.FLOAT, None)]
    graph = helper.make_graph([choice], "g", inputs, outputs, [numpy_helper.from_array(w, "w")])
    data = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10
    ).SerializeToString()
    x = np.random.default_rng(0).standard_normal((1, 8, 9, 9)).astype(np.float32)
    session = ours(data)
    for which in (True, False):
        feeds = {"x": x, "which": np.array(which)}
        close(session.run(None, feeds)[0], stock(data).run(None, feeds)[0])
