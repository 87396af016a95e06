"""Runs an .onnx file with ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from secateur.deployment.engines.engine import KEY, Array, Engine, Precision, check_ends, need, parsed
from secateur.deployment.engines.foreign import described, output_names


def load(
    path: Path, threads: int | None, precision: Precision, outputs: Mapping[str, str] | None = None
) -> Engine:
    """A session whose threads sleep as soon as a pass is over."""
    (runtime,) = need("onnx", "onnxruntime")
    session = runtime.InferenceSession(path, options(runtime, threads), providers=["CPUExecutionProvider"])
    return wrapped("onnxruntime", runtime.__version__, path, session, outputs)


def options(runtime: Any, threads: int | None) -> Any:
    """Of a session."""
    made = runtime.SessionOptions()
    made.intra_op_num_threads = threads or 0
    made.inter_op_num_threads = 1
    made.add_session_config_entry(
        "session.force_spinning_stop", "1"
    )  # else they take a core from what runs next
    return made


def wrapped(
    name: str,
    version: str,
    path: Path,
    session: Any,
    outputs: Mapping[str, str] | None = None,
    layers: tuple[Any, ...] = (),
) -> Engine:
    """A session as an engine; of a file that is not ours, ``outputs`` says which of its outputs is which task.

    Raises:
        UnreadableError: If the file does not describe itself, or otherwise than it is.
    """
    given, found = session.get_inputs(), session.get_outputs()
    if outputs is None:
        about = parsed(path, session.get_modelmeta().custom_metadata_map.get(KEY))
        check_ends(path, about, (x.name for x in given), (x.name for x in found))
    else:
        named, made = ([(x.name, x.shape) for x in ends] for ends in (given, found))
        about = described(path, named, made, outputs)
    names, wanted = list(about["inputs"]), output_names(about)
    (runtime,) = need("onnx", "onnxruntime")
    quietly = runtime.RunOptions()
    quietly.log_severity_level = 4  # what it cannot do it also raises

    def call(arrays: list[Array]) -> list[Array]:
        return session.run(wanted, dict(zip(names, arrays, strict=True)), quietly)

    return Engine(name, version, about, call, layers)
