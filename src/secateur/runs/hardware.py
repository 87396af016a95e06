"""What a run was trained on, for the record."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import torch

from secateur.runs.parser import nearest


def hardware(device: torch.device) -> str:
    """Name of the GPU, or of the processor with the number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    names = [
        line.partition(":")[2].strip()
        for line in _lines(Path("/proc/cpuinfo"))
        if line.startswith("model name")
    ]
    return f"{names[0] if names else platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"


def on_device(name: str) -> dict[str, Any]:
    """Arguments of Fabric for ``cpu``, ``cuda``, ``cuda:1`` or ``auto``, a GPU where there is one.

    Raises:
        ValueError: If it is none of these, or not here.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    kind, colon, index = (name if name != "auto" else "cuda" if count else "cpu").partition(":")
    if kind not in ("cpu", "cuda") or (colon and not (kind == "cuda" and index.isdigit())):
        raise ValueError(
            f"device is {name!r}; give cpu, cuda, cuda:1 or auto.{nearest(name, ['cpu', 'cuda', 'auto'])}"
        )
    if kind == "cuda" and int(index or 0) >= count:
        seen = f"{count} GPU{'s' if count > 1 else ''}" if count else "no GPU"
        raise ValueError(
            f"device is {name}, but torch sees {seen} here; use --device cpu{' or cuda:0' if count else ''}."
        )
    return {"accelerator": kind, "devices": [int(index)] if index else 1}


def torch_device(name: str) -> torch.device:
    """The device that :func:`on_device` chooses."""
    found = on_device(name)
    kind, index = found["accelerator"], found["devices"]
    return torch.device(kind, index[0]) if isinstance(index, list) else torch.device(kind)


def check_processor(name: str, verb: str) -> None:
    """Raises ValueError for a device other than the processor, where the engines are that read and time files."""
    if name not in ("cpu", "auto"):
        on_device(name)
        raise ValueError(
            f"{verb}: device is {name}, but engines run on the processor here; leave --device out."
        )


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []
