"""Which file each engine is timed on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from secateur.deployment.engines import need
from secateur.deployment.export import Format, Quantize, int8_suffix, require
from secateur.problem import Input

EngineName = Literal["torch", "onnxruntime", "openvino", "executorch", "sparse"]
FORMATS: dict[EngineName, tuple[Format, str]] = {
    "torch": ("pt2", ".pt2"),
    "onnxruntime": ("onnx", ".onnx"),
    "openvino": ("openvino", ".xml"),
    "executorch": ("executorch", ".pte"),
    "sparse": ("onnx", ".onnx"),
}
INT8: tuple[EngineName, ...] = ("onnxruntime", "openvino", "sparse")  # which run int8


def formats(engines: Sequence[EngineName], quantize: Quantize | None) -> dict[EngineName, tuple[Format, str]]:
    """The format and suffix of each engine.

    Raises:
        ValueError: If an engine has none in int8.
    """
    if quantize is None:
        return {engine: FORMATS[engine] for engine in engines}
    others = [engine for engine in engines if engine not in INT8]
    if others:
        raise ValueError(
            f"bench: quantize is {quantize!r}, which {', '.join(INT8)} run, and engines names {', '.join(others)}."
        )
    return {
        engine: FORMATS["openvino" if int8_suffix(engine) == ".xml" else "onnxruntime"] for engine in engines
    }


def options(example: Input, quantize: Quantize | None, keep_float: Sequence[str]) -> dict[str, Any]:
    """Of :func:`secateur.export`; the ranges are those of ``example``, whatever is then predicted.

    Raises:
        ValueError: If something is to stay in float of what is not quantised.
    """
    if quantize is None and keep_float:
        raise ValueError("bench: keep_float is given, but nothing is quantised; add quantize='int8'.")
    if quantize is None:
        return {}
    told = {"quantize": quantize, "calibrate": [example], "keep_float": keep_float}
    return told | {"largest_error": math.inf}


def require_engine(engine: EngineName, quantize: Quantize | None = None) -> None:
    """Asks for what an engine and its files need.

    Raises:
        ValueError: If there is no such engine, or it has no file in int8 and that is asked.
        EngineMissingError: If a package is not installed; it says what to install.
    """
    if engine not in FORMATS:
        raise ValueError(f"{engine!r} is no engine; there are {', '.join(FORMATS)}.")
    made = formats([engine], quantize)
    require(FORMATS[engine][0])  # which runs it
    require(made[engine][0])  # which writes for it
    if engine == "sparse":
        need("sparse", "secateur_runtime")
