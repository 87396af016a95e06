"""A file in int8 in the place of one in float32, with what it says of itself."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from secateur.deployment.engines import load_engine
from secateur.deployment.export import int8_onnx, int8_openvino
from secateur.deployment.export.calibration import Calibration, LossyError, Tensors, fitting
from secateur.deployment.export.network import Network
from secateur.deployment.export.parity import differences

_CHECKED = 4  # batches of those calibrated on that the error is measured on too
_TOOLS: dict[str, ModuleType] = {"onnx": int8_onnx, "openvino": int8_openvino}


def require_tool(kind: str) -> None:
    """Asks for the package that quantises a format.

    Raises:
        EngineMissingError: If it is not installed; it says what to install.
    """
    _TOOLS[kind].require()


def int8_suffix(engine: str) -> str:
    """``.xml`` for OpenVINO where NNCF is installed, whose files it was made for; ``.onnx`` otherwise, which it runs too."""
    return ".xml" if engine == "openvino" and importlib.util.find_spec("nncf") else ".onnx"


def quantise(
    path: Path,
    made: Network,
    how: Calibration,
    checked: Iterable[Tensors],
    metadata: dict[str, Any],
) -> None:
    """Replaces the float32 file at ``path`` by one in int8, which says that it is lossy, and by how much, and what stayed in float.

    Args:
        path: Its name is kept.
        made: What it was made of, in float32.
        how: What to calibrate on, and what stays in float.
        checked: More inputs to measure the error on.
        metadata: To keep in the file.

    Raises:
        LossyError: If a task is off by more than it may.
    """
    tool = int8_openvino if path.suffix == ".xml" else int8_onnx
    save, by = tool.quantised(path, made, how, metadata["weights"])
    told: dict[str, Any] = {"type": "int8", "lossy": True, "tool": by, "float": list(how.keep)}
    save(metadata | {"quantized": told})
    engine, errors = load_engine(path), dict.fromkeys(made.tasks, 0.0)
    for tensors in (*fitting(path, made, how.batches[:_CHECKED]), *checked):
        for task, error in differences(made, engine, tensors).items():
            errors[task] = max(errors[task], error) if error == error else error  # NaN stays
    for task, error in errors.items():
        if not error <= how.largest:
            raise LossyError(
                f"export: in int8 {task!r} is off by {error:.2g} of its largest value (at most {how.largest:g}); no file was "
                "written. Calibrate on more, or more typical, training inputs, keep its head in float",
                f"(keep_float=[{task!r}]), or leave quantize out.",
                f"(--keep-float {task}), or leave --quantize out.",
            )
    told |= {"errors": errors, "samples": sum(len(tensors[0]) for tensors in how.batches)}
    save(metadata | {"quantized": told})
