"""Files of weights: all of one, its manifest alone, and the record of what was removed from the network in it."""

from __future__ import annotations

import json
import random
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import nn

from fuzzing.networks import chain, shrunk, small
from fuzzing.target import Mutate, Place, WrongError, memory, taken
from fuzzing.trees import deep, mutated
from secateur.storage import load, manifest, save

_DTYPES = {
    "F32": "<f4",
    "F64": "<f8",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
}
_NAMES = {"float32": "<f4", "float64": "<f8", "float16": "<f2", "int64": "<i8", "int32": "<i4", "int16": "<i2",
          "int8": "i1", "uint8": "u1", "bool": "?"}  # fmt: skip
_SIZES = ["F32", "I32", "F16", "BF16", "I64", "F64", "U8", "BOOL", "F8_E4M3", "C64", "U16", "U64", "F4", "X"]


class Weights:
    """``load`` into a freshly built network."""

    def __init__(self, name: str, made: Callable[[], nn.Module], fresh: Callable[[], nn.Module]) -> None:
        self.name, self._made, self._fresh = name, made, fresh
        self._place = Place(memory(), f"{name}.safetensors")
        self._model, self._before = fresh(), _held(fresh())

    def seeds(self) -> list[bytes]:
        """One file as ``save`` writes it, and the same in the format without checksums."""
        other = self._place.path.with_name("seed.safetensors")
        whole = save(self._made(), other, {"tasks": {"seg": 2}, "mean": [0.5]}).read_bytes()
        header, data = split(whole)
        content = json.loads(header["__metadata__"]["secateur"])
        return [whole, sealed(header, content, data, old=True)]

    def mutate(self, data: bytes, draw: random.Random, raw: Mutate) -> bytes:
        """Header, manifest, record or values, mostly with checksums that are right."""
        return remade(data, draw, raw)

    def check(self, data: bytes) -> bool:
        """Accepted are the very values that a reader of its own finds in the file, under the names of the network."""
        path = self._place.put(data)
        found = taken(lambda: load(self._model, path), path)
        self._place.unchanged(data)
        if found is None:
            if _held(self._model) != self._before:
                self._model = self._fresh()
                raise WrongError("refused, and the model is changed")
            return False
        held = {n: v.detach().clone() for n, v in self._model.state_dict().items()}
        self._model = self._fresh()
        try:
            said = values(data)
        except Exception as error:
            raise WrongError(f"accepted, and it cannot be read: {error!r}") from error
        if said.keys() != held.keys():
            raise WrongError(f"accepted with other names: {sorted(said.keys() ^ held.keys())}")
        for name, tensor in held.items():
            mine = tensor.numpy()
            if mine.shape != said[name].shape or mine.tobytes() != said[name].tobytes():
                raise WrongError(f"accepted, and {name} is another")
        return True


def plain() -> Weights:
    """A network as it is."""
    return Weights("weights", small, small)


def compacted() -> Weights:
    """A smaller one, into a network of the full size."""
    return Weights("compacted", shrunk, chain)


class Manifest:
    """``manifest``: what a file says of itself."""

    name = "manifest"

    def __init__(self) -> None:
        self._place = Place(memory(), "manifest.safetensors")

    def seeds(self) -> list[bytes]:
        """As of the weights."""
        return Weights("manifest", shrunk, chain).seeds()

    def mutate(self, data: bytes, draw: random.Random, raw: Mutate) -> bytes:
        """As of the weights."""
        return remade(data, draw, raw)

    def check(self, data: bytes) -> bool:
        """Accepted is what stands in the header, sealed."""
        path = self._place.put(data)
        found = taken(lambda: manifest(path), path)
        if found is None:
            return False
        header, _ = split(data)
        content = _content(header)
        if repr(content) != repr(found):
            raise WrongError("accepted, and it is not what the file says")
        entries, about = found["tensors"], found["about"]
        if not all(
            isinstance(n, str) and isinstance(e["shape"], list) for n, e in entries.items()
        ) or not isinstance(about, dict):
            raise WrongError("accepted, and it does not list tensors by shape")
        return True


def split(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and the values' bytes of a safetensors file."""
    (size,) = struct.unpack("<Q", data[:8])
    if size > len(data) - 8:
        raise ValueError("no header")
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def joined(header: Any, data: bytes) -> bytes:
    """The file of them."""
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def sealed(header: dict[str, Any], content: Any, data: bytes, *, old: bool = False) -> bytes:
    """The file with this manifest, as one who gets the checksums right writes it, or in the format that had none."""
    content = json.loads(json.dumps(content))
    entries = content.get("tensors") if isinstance(content, dict) else None
    for name, entry in entries.items() if isinstance(entries, dict) else ():
        if isinstance(entry, dict) and "same_as" not in entry:
            parts = [f"{name}:bits", f"{name}:values"] if entry.get("packed") is True else [name]
            entry.pop("crc32", None)
            if not old:
                entry["crc32"] = {p: zlib.crc32(_piece(header, data, p)) for p in parts}
    if isinstance(content, dict) and old and content.get("format") == 2:
        content["format"] = 1
    text = json.dumps(content)
    metadata = {"secateur": text}
    if not old:
        metadata["secateur crc32"] = f"{zlib.crc32(text.encode('utf-8', 'surrogatepass')):08x}"
    return joined({**header, "__metadata__": metadata}, data)


def remade(data: bytes, draw: random.Random, raw: Mutate) -> bytes:
    """A mutated file of weights."""
    way = draw.random()
    try:
        header, values = split(data)
        content = json.loads(header["__metadata__"]["secateur"])
    except Exception:  # what an earlier mutation left
        return raw(data)
    if way < 0.15:
        return raw(data)
    entries = content.get("tensors") if isinstance(content, dict) else None
    words = [*header, *_SIZES, *(entries if isinstance(entries, dict) else ())]
    if way < 0.3:
        return joined(mutated(header, draw, words), values)
    if way < 0.45:
        tensors = mutated({k: v for k, v in header.items() if k != "__metadata__"}, draw, words)
        header = {**tensors, "__metadata__": header["__metadata__"]} if isinstance(tensors, dict) else header
    elif way < 0.6:
        values = raw(values) if values else values
    elif way < 0.8 or not (isinstance(content, dict) and "compaction" in content):
        content = mutated(content, draw, words)
    else:
        content["compaction"] = (
            deep(draw) if draw.random() < 0.02 else mutated(content["compaction"], draw, words)
        )
    try:
        return sealed(header, content, values, old=draw.random() < 0.1)
    except Exception:  # a header without offsets has no checksums to set right
        return joined(header, values)


def values(data: bytes) -> dict[str, Any]:
    """The tensors in a file, by a second reader that shares nothing with the first."""
    header, stored = split(data)
    content, found = _content(header), dict[str, Any]()
    for name, entry in content["tensors"].items():
        shape, dtype = entry["shape"], _NAMES[entry["dtype"]]
        if "same_as" in entry:
            found[name] = found[entry["same_as"]]
            continue
        parts = [f"{name}:bits", f"{name}:values"] if entry["packed"] else [name]
        pieces = [_piece(header, stored, part) for part in parts]
        if content["format"] > 1 and entry["crc32"] != {
            p: zlib.crc32(b) for p, b in zip(parts, pieces, strict=True)
        }:
            raise ValueError(f"checksum of {name}")
        flat = np.frombuffer(pieces[-1], _DTYPES[header[parts[-1]]["dtype"]])
        if flat.dtype != np.dtype(dtype):
            raise ValueError(f"dtype of {name}")
        if entry["packed"]:
            kept = np.unpackbits(np.frombuffer(pieces[0], np.uint8))[: int(np.prod(shape))].astype(bool)
            whole = np.zeros(int(np.prod(shape)), dtype)
            whole[kept] = flat
            flat = whole
        found[name] = flat.reshape(shape)
    return found


def _piece(header: dict[str, Any], data: bytes, name: str) -> bytes:
    low, high = header[name]["data_offsets"]
    return data[low:high]


def _content(header: dict[str, Any]) -> Any:
    """The manifest, if its checksum is right."""
    text = header["__metadata__"]["secateur"]
    content = json.loads(text)
    seal = header["__metadata__"].get("secateur crc32")
    if content["format"] == 1:
        if seal is not None:
            raise ValueError("sealed and of format 1")
    elif content["format"] != 2 or seal != f"{zlib.crc32(text.encode('utf-8', 'surrogatepass')):08x}":
        raise ValueError("the seal is another")
    return content


def _held(model: nn.Module) -> tuple[Any, ...]:
    """All that a refusal must not change."""
    kinds = [(n, type(m), m.training, getattr(m, "out_channels", None)) for n, m in model.named_modules()]
    return (
        kinds,
        [(n, t.dtype, t.shape, t.numpy().tobytes()) for n, t in model.state_dict().items()],
        sorted(vars(model)),
    )
