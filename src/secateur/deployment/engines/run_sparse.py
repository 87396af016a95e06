"""Runs an .onnx file with ONNX Runtime and secateur-runtime, whose kernels skip zeros."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from secateur.deployment.engines.engine import Engine, EngineMissingError, Precision, need
from secateur.deployment.engines.run_onnxruntime import options, wrapped


def load(
    path: Path, threads: int | None, precision: Precision, outputs: Mapping[str, str] | None = None
) -> Engine:
    """A session in which layers with enough zeros run by our kernels, and the rest as in ONNX Runtime.

    Raises:
        EngineMissingError: If secateur-runtime is not installed, or not for this machine or this onnxruntime.
    """
    runtime, sparse = need("sparse", "onnxruntime", "secateur_runtime")
    given = options(runtime, threads)
    given.log_severity_level = 3  # it warns of every session in which two providers share the work
    try:
        session = sparse.session(path, session_options=given, strict=True)
    except sparse.Unsupported as error:
        raise EngineMissingError(str(error)) from error
    layers = tuple(asdict(layer) for layer in sparse.report(session).layers)
    return wrapped("sparse", sparse.__version__, path, session, outputs, layers)
