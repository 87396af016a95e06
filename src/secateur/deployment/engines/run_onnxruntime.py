"""Runs an .onnx file with ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from secateur.deployment.engines.engine import KEY, Array, Engine, Precision, check_ends, need, parsed


def load(path: Path, threads: int | None, precision: Precision) -> Engine:
    """A session whose threads sleep as soon as a pass is over."""
    (runtime,) = need("onnx", "onnxruntime")
    session = runtime.InferenceSession(path, options(runtime, threads), providers=["CPUExecutionProvider"])
    return wrapped("onnxruntime", runtime.__version__, path, session)


def options(runtime: Any, threads: int | None) -> Any:
    """Of a session."""
    made = runtime.SessionOptions()
    made.intra_op_num_threads = threads or 0
    made.inter_op_num_threads = 1
    made.add_session_config_entry(
        "session.force_spinning_stop", "1"
    )  # else they take a core from what runs next
    return made


def wrapped(name: str, version: str, path: Path, session: Any, layers: tuple[Any, ...] = ()) -> Engine:
    """A session as an engine.

    Raises:
        UnreadableError: If the file does not describe itself, or otherwise than it is.
    """
    about = parsed(path, session.get_modelmeta().custom_metadata_map.get(KEY))
    ends = (x.name for x in session.get_inputs()), (x.name for x in session.get_outputs())
    check_ends(path, about, *ends)
    names, tasks = list(about["inputs"]), list(about["tasks"])

    def call(arrays: list[Array]) -> list[Array]:
        return session.run(tasks, dict(zip(names, arrays, strict=True)))

    return Engine(name, version, about, call, layers)
