"""Weights on disk: one safetensors file with a manifest inside, small where the weights are sparse, never any code."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from secateur.pruning import check_plain
from secateur.shrinking import Compaction, compaction, rebuild
from secateur.storage.files import write_aside
from secateur.storage.snapshot import check_shapes, named_tensors, restore

FORMAT = 1
_PACK_BELOW = 0.9  # share of nonzeros under which bits + values take clearly less room than the dense tensor


def save(model: nn.Module, path: Path | str, about: Mapping[str, Any] | None = None) -> Path:
    """Writes the model's parameters and buffers to ``path``, aside and renamed.

    A tensor with many zeros is stored as one bit per element and its nonzero values, so a network with 10 % of its
    weights left takes about an eighth of the room. Tensors that share storage are stored once.

    Args:
        model: A plain module (``fit`` has returned).
        path: The file, usually ``*.safetensors``.
        about: Plain values kept in the manifest, such as task names.

    Raises:
        ValueError: If the model is still under a parametrization.
        OSError: If the file cannot be written; what was there before is intact.
    """
    check_plain(model, "save")
    tensors = {name: t.detach().cpu() for name, t in named_tensors(model).items()}
    manifest: dict[str, Any] = {"format": FORMAT, "about": dict(about or {}), "tensors": {}}
    stored: dict[str, Tensor] = {}
    first_of: dict[tuple[int, torch.Size, tuple[int, ...]], str] = {}
    for name, tensor in tensors.items():
        key = (tensor.data_ptr(), tensor.shape, tensor.stride())
        entry: dict[str, Any] = {
            "shape": list(tensor.shape),
            "dtype": str(tensor.dtype).removeprefix("torch."),
        }
        if tensor.numel() and key in first_of:
            entry["same_as"] = first_of[key]
        else:
            first_of[key] = name
            entry["packed"] = _is_sparse(tensor)
            stored.update(_pack(name, tensor) if entry["packed"] else {name: tensor.contiguous()})
        manifest["tensors"][name] = entry
    if (removed := compaction(model)) is not None:
        manifest["compaction"] = removed.to_dict()
    text = json.dumps(manifest)
    return write_aside(Path(path), lambda aside: save_file(stored, aside, metadata={"secateur": text}))


def load(model: nn.Module, path: Path | str) -> nn.Module:
    """Reads weights written by :func:`save` into ``model``, in place, and returns it.

    Where the file is of a compacted network, a freshly built ``model`` of the user's class is first cut to its shapes.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged, not ours, or of another model; the model is unchanged.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No weights at {path}; train first, or check the path.")
    try:
        with safe_open(path, framework="pt") as file:
            manifest = _manifest(path, file.metadata())
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except SafetensorError as error:
        raise ValueError(
            f"{path} is truncated or no safetensors file ({error}); write it again from the run's checkpoint."
        ) from error
    entries: dict[str, Any] = manifest["tensors"]
    if "compaction" in manifest and compaction(model) is None:
        small = rebuild(copy.deepcopy(model), Compaction.from_dict(manifest["compaction"]))
        check_shapes(str(path), _shapes(entries), named_tensors(small))  # before the model is touched
        rebuild(model, Compaction.from_dict(manifest["compaction"]))
    tensors = named_tensors(model)
    check_shapes(str(path), _shapes(entries), tensors)
    values: dict[str, Tensor] = {}
    for name, entry in entries.items():
        if "same_as" in entry:
            values[name] = values[entry["same_as"]]
        else:
            values[name] = _unpack(name, entry, stored) if entry["packed"] else stored[name]
    restore(tensors, values)
    return model


def manifest(path: Path | str) -> dict[str, Any]:
    """The manifest of a file: format, shapes and dtypes of all tensors, and what was said ``about`` the model."""
    with safe_open(Path(path), framework="pt") as file:
        return _manifest(Path(path), file.metadata())


def _manifest(path: Path, metadata: dict[str, str] | None) -> dict[str, Any]:
    if not metadata or "secateur" not in metadata:
        raise ValueError(
            f"{path} holds no manifest of ours; only files written by secateur.save can be loaded here."
        )
    found = json.loads(metadata["secateur"])
    if found["format"] != FORMAT:
        raise ValueError(
            f"{path} is of format {found['format']}, this release reads format {FORMAT}; use the release that wrote it."
        )
    return found


def _shapes(entries: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(entry["shape"]) for name, entry in entries.items()}


def _is_sparse(tensor: Tensor) -> bool:
    return (
        tensor.is_floating_point()
        and tensor.numel() >= 64
        and int(tensor.count_nonzero()) < _PACK_BELOW * tensor.numel()
    )


def _pack(name: str, tensor: Tensor) -> dict[str, Tensor]:
    kept = tensor.flatten() != 0
    bits = torch.from_numpy(np.packbits(kept.numpy()))
    return {f"{name}:bits": bits, f"{name}:values": tensor.flatten()[kept].contiguous()}


def _unpack(name: str, entry: Mapping[str, Any], stored: Mapping[str, Tensor]) -> Tensor:
    values = stored[f"{name}:values"]
    flat = torch.zeros(int(np.prod(entry["shape"])), dtype=values.dtype)
    kept = np.unpackbits(stored[f"{name}:bits"].numpy(), count=flat.numel()).astype(bool)
    flat[torch.from_numpy(kept)] = values
    return flat.view(entry["shape"])
