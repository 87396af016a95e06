"""The machine that a benchmark ran on."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = ("secateur", "numpy", "torch", "onnx", "onnxscript", "onnxruntime", "openvino", "executorch")


def machine() -> dict[str, Any]:
    """Processor, cores that this process may use, and system; no name of the machine or its user."""
    return {
        "processor": _processor(),
        "cores": _cores(),
        "system": platform.system(),
        "architecture": platform.machine(),
    }


def crowded(threads: int) -> str:
    """Why no time of so many threads says anything here, in words; empty where it does."""
    cores = _cores()
    if cores is None or threads <= cores:
        return ""
    return f"threads is {threads}, more than the cores that this process may use ({cores}), so that they wait for each other"


def _cores() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def versions(packages: Sequence[str] = _PACKAGES) -> dict[str, str]:
    """Of Python and of those packages that are installed; a folder of sources on the path is not."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        named = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except OSError:
        named = None
    return named.group(1).strip() if named else platform.processor() or platform.machine()
