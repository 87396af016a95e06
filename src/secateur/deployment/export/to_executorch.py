"""Writes an ExecuTorch program for CPUs, phones included."""

from __future__ import annotations

from pathlib import Path

import torch

from secateur.deployment.engines import KEY, EngineMissingError, need, quiet
from secateur.deployment.export.tracing import Traced

_MODULES = (
    "executorch.exir",
    "executorch.backends.xnnpack.partition.xnnpack_partitioner",
    "executorch.runtime",
)
_TORCH = (2, 13)  # the oldest that executorch 1.5.1 was seen to work with; with 2.11 it fails in the middle


def require() -> None:
    """Asks for executorch, and for a torch that it converts the programs of.

    Raises:
        EngineMissingError: If one of them is missing.
    """
    # Before the import, which fails with an older one where the environment says CI.
    if tuple(map(int, torch.__version__.split(".")[:2])) < _TORCH:
        raise EngineMissingError(
            f"ExecuTorch converts programs of torch {'.'.join(map(str, _TORCH))} and later, and this is {torch.__version__}: "
            "pip install --upgrade torch torchvision, then pip install 'secateur[executorch]'"
        )
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
