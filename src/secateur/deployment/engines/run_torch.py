"""Runs a .pt2 file with torch's own kernels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from secateur.deployment.engines.engine import Array, Engine, Precision, parsed, quiet
from secateur.deployment.engines.program import harmless


def load(path: Path, threads: int | None, precision: Precision) -> Engine:
    """A program of ``torch.export``, run operation by operation."""
    if threads is not None:
        torch.set_num_threads(threads)
    archive, text = harmless(path)
    about = parsed(path, text)
    with quiet():
        module = torch.export.load(archive).module()

    def call(arrays: list[Array]) -> list[Array]:
        with torch.no_grad():
            given = (
                torch.from_numpy(np.ascontiguousarray(array)) for array in arrays
            )  # torch has no negative strides
            return [t.detach().numpy() for t in module(*given)]

    return Engine("torch", torch.__version__, about, call)
