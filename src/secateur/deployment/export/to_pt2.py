"""Writes a program of torch.export."""

from __future__ import annotations

import io
from pathlib import Path
from typing import cast

import torch
from torch import fx

from secateur.deployment.engines import KEY, PLAIN_NAME, quiet
from secateur.deployment.export.names import rename
from secateur.deployment.export.tracing import Traced


def require() -> None:
    """Torch is there."""


def write(traced: Traced, path: Path, about: str) -> None:
    """``path`` holds the program; its extra file ``secateur.json`` the metadata."""
    for module in traced.program.graph_module.modules():
        for node in cast("fx.Graph", module.graph).nodes if hasattr(module, "graph") else ():
            node.meta.pop(
                "from_node", None
            )  # where this process kept its graphs: the same network is the same bytes
    rename(traced.program, lambda name: bool(PLAIN_NAME.fullmatch(name)))  # the reader takes no others
    held = io.BytesIO()  # on a full disk what torch writes itself ends the process
    with quiet():
        torch.export.save(traced.program, held, extra_files={f"{KEY}.json": about})
    path.write_bytes(held.getbuffer())
