"""Tensors to what a weights file stores of them, and back, checked: dense, or a bit per element and the nonzeros."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import save as written
from torch import Tensor

from secateur.storage.outline import kind

_PACK_BELOW = 0.9  # share of nonzeros under which bits + values take clearly less room than the dense tensor


def pack(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """An entry for each name, for the manifest, and what is to be stored; tensors that share storage are stored once.

    Raises:
        ValueError: If a tensor is of a kind that a file cannot hold; it is named.
    """
    entries: dict[str, Any] = {}
    stored: dict[str, Tensor] = {}
    first_of: dict[tuple[Any, ...], str] = {}
    memories: set[int] = set()
    for name, given in tensors.items():
        _check_storable(name, given)
        tensor = given.detach().cpu().resolve_conj().resolve_neg()
        key = (
            given.device,
            given.data_ptr(),
            given.dtype,
            given.shape,
            given.stride(),
            given.is_conj(),
            given.is_neg(),
        )
        entry: dict[str, Any] = {"shape": list(tensor.shape), "dtype": _name(tensor.dtype)}
        if tensor.numel() and key in first_of:
            entry["same_as"] = first_of[key]
        else:
            first_of[key] = name
            entry["packed"] = _is_sparse(tensor)
            parts = _bits_and_values(name, tensor) if entry["packed"] else {name: _apart(tensor, memories)}
            entry["crc32"] = {part: checksum(value) for part, value in parts.items()}
            stored.update(parts)
        entries[name] = entry
    return entries, stored


def unpack(entries: Mapping[str, Any], stored: Mapping[str, Tensor], *, sealed: bool) -> dict[str, Tensor]:
    """The tensors.

    Args:
        entries: Of the manifest.
        stored: What is in the file.
        sealed: Each entry has checksums, which files of format 1 have not.

    Raises:
        ValueError: If an entry and what is stored do not agree.
    """
    values: dict[str, Tensor] = {}
    used: set[str] = set()
    for name, entry in entries.items():
        shape, dtype, packed = _read(name, entry)
        wanted = f"{dtype} {shape}"
        if packed is None:
            values[name] = _given(values, entry["same_as"], name)
        else:
            parts = (f"{name}:bits", f"{name}:values") if packed else (name,)
            found = {part: _given(stored, part, name) for part in parts}
            used |= found.keys()
            if sealed and entry.get("crc32") != {part: checksum(value) for part, value in found.items()}:
                raise ValueError(f"the checksum of {name} is another")
            values[name] = _spread(found, name, shape) if packed else found[name]
        if kind(values[name]) != wanted:
            raise ValueError(f"{name} is stored as {kind(values[name])}, and should be {wanted}")
    if surplus := stored.keys() - used:
        raise ValueError(f"{min(surplus)} is stored and belongs to nothing")
    return values


def check_entries(entries: Mapping[str, Any]) -> None:
    """Raises ValueError if a manifest lists a tensor without shape, dtype or how it is stored."""
    for name, entry in entries.items():
        _read(name, entry)


def checksum(tensor: Tensor) -> int:
    """CRC-32 of the values' bytes: 45 ms for 100 MB; it finds damage, it is no signature."""
    return zlib.crc32(cast(Any, tensor.contiguous().reshape(-1).view(torch.uint8).numpy()))


def _apart(tensor: Tensor, memories: set[int]) -> Tensor:
    """Contiguous, and in a memory of its own, as safetensors wants it; that is then one of ``memories``."""
    found = tensor.contiguous()
    found = found.clone() if found.untyped_storage().data_ptr() in memories else found
    memories.add(found.untyped_storage().data_ptr())
    return found


def _check_storable(name: str, tensor: Tensor) -> None:
    odd = None
    if tensor.is_meta:
        odd = "on the meta device, without values; put the model on a device with to_empty() and give it weights"
    elif tensor.layout != torch.strided or tensor.is_nested:
        odd = "sparse or nested; keep it dense, as to_dense() gives it, or register it with persistent=False"
    elif tensor.is_quantized or not _has_code(tensor.dtype):
        odd = f"of {_name(tensor.dtype)}, which safetensors has not; keep it in another dtype, or register it with persistent=False"
    if odd is not None:
        raise ValueError(f"save: {name} of the model is {odd}.")


def _has_code(dtype: torch.dtype) -> bool:
    try:
        return bool(written({"x": torch.empty(0, dtype=dtype)}))
    except (KeyError, ValueError, RuntimeError):
        return False


def _read(name: str, entry: Any) -> tuple[tuple[int, ...], str, bool | None]:
    """Shape, dtype, and whether it is packed; None where it is the same as another."""
    shape = cast(list[Any], entry.get("shape")) if isinstance(entry, dict) else None
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"the entry of {name} has no shape")
    dtype, packed = entry.get("dtype"), entry.get("packed")
    if not isinstance(dtype, str):
        raise ValueError(f"the entry of {name} has no dtype")
    if ("same_as" in entry) == isinstance(packed, bool):
        raise ValueError(f"the entry of {name} does not say how it is stored")
    return tuple(shape), dtype, packed


def _given(values: Mapping[str, Tensor], part: Any, name: str) -> Tensor:
    if not isinstance(part, str) or part not in values:
        raise ValueError(f"{name} is not stored: {part} is missing")
    return values[part]


def _is_sparse(tensor: Tensor) -> bool:
    return (
        tensor.is_floating_point()
        and tensor.dtype.itemsize > 1  # of one byte torch counts no zeros, and there is less to win
        and tensor.numel() >= 64
        and int(tensor.count_nonzero()) < _PACK_BELOW * tensor.numel()
    )


def _bits_and_values(name: str, tensor: Tensor) -> dict[str, Tensor]:
    kept = tensor.flatten() != 0
    bits = torch.from_numpy(np.packbits(kept.numpy()))
    return {f"{name}:bits": bits, f"{name}:values": tensor.flatten()[kept].contiguous()}


def _spread(found: Mapping[str, Tensor], name: str, shape: tuple[int, ...]) -> Tensor:
    bits, values, size = found[f"{name}:bits"], found[f"{name}:values"], math.prod(shape)
    if kind(bits) != f"uint8 ({-(-size // 8)},)":
        raise ValueError(f"the bits of {name} are {kind(bits)}, for {size} weights")
    kept = torch.from_numpy(np.unpackbits(bits.numpy(), count=size).astype(bool))
    if values.dim() != 1 or int(kept.sum()) != values.numel():
        raise ValueError(f"{name} has {values.numel()} values for {int(kept.sum())} places")
    flat = torch.zeros(size, dtype=values.dtype)
    flat[kept] = values
    return flat.view(shape)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
