"""Checkpoints of a run in progress: state only, loaded with ``weights_only``, so that no file can run code."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from secateur.storage.files import write_aside


def named_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers under their plain names; take them before a method wraps the weights."""
    saved = model.state_dict(keep_vars=True)
    return {name: value for name, value in saved.items() if isinstance(value, Tensor)}


def save_snapshot(
    path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any], rows: list[dict[str, Any]]
) -> None:
    """Writes a checkpoint, aside and renamed.

    Args:
        path: The file.
        tensors: The model's, of :func:`named_tensors`.
        state: Everything else: tensors and plain values.
        rows: The history so far.
    """
    content = {"model": {n: t.detach() for n, t in tensors.items()}, "rows": json.dumps(rows), **state}
    write_aside(path, lambda aside: torch.save(content, aside))


def load_snapshot(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Reads a checkpoint and checks that it belongs to this model; nothing is changed yet.

    Raises:
        ValueError: If the file is damaged or belongs to another model.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        state["rows"] = json.loads(state["rows"])
    except (
        RuntimeError,
        EOFError,
        KeyError,
        TypeError,
        pickle.UnpicklingError,
        json.JSONDecodeError,
    ) as error:
        raise ValueError(
            f"The checkpoint {path} is truncated or damaged ({type(error).__name__}); delete it to train from the start."
        ) from error
    check_shapes(str(path), {n: tuple(t.shape) for n, t in state["model"].items()}, tensors)
    return state


def check_shapes(source: str, found: Mapping[str, tuple[int, ...]], tensors: Mapping[str, Tensor]) -> None:
    """Raises ValueError naming the first differences if ``found`` are not the names and shapes of ``tensors``."""
    wanted = {name: tuple(t.shape) for name, t in tensors.items()}
    differences = [
        f"{name}: file {found.get(name, 'absent')}, model {wanted.get(name, 'absent')}"
        for name in sorted(found.keys() | wanted.keys())
        if found.get(name) != wanted.get(name)
    ]
    if differences:
        more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
        raise ValueError(
            f"{source} belongs to another model: {'; '.join(differences[:3])}{more}. Build the model it was saved from."
        )


@torch.no_grad()
def restore(tensors: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> None:
    """Copies saved values into the model's tensors."""
    for name, tensor in tensors.items():
        tensor.copy_(saved[name])
