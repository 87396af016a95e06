"""Writes an ExecuTorch program for CPUs, phones included."""

from __future__ import annotations

from pathlib import Path

import torch

from secateur.deployment.engines import KEY, need, quiet
from secateur.deployment.export.tracing import Traced

_MODULES = (
    "executorch.exir",
    "executorch.backends.xnnpack.partition.xnnpack_partitioner",
    "executorch.runtime",
)


def require() -> None:
    """Asks for executorch.

    Raises:
        EngineMissingError: If it is not installed.
    """
    need("executorch", *_MODULES)


def write(traced: Traced, path: Path, about: str) -> None:
    """What XNNPACK can do is handed to it; the method ``secateur`` returns the metadata as bytes of JSON."""
    exir, xnnpack, _ = need("executorch", *_MODULES)
    held = torch.tensor(list(about.encode()), dtype=torch.uint8)
    with torch.no_grad(), quiet():
        program = exir.to_edge_transform_and_lower(
            traced.program, partitioner=[xnnpack.XnnpackPartitioner()], constant_methods={KEY: held}
        ).to_executorch()
    path.write_bytes(program.buffer)
