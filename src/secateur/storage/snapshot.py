"""Checkpoints of a run in progress: state only, loaded with ``weights_only``, so that no file can run code."""

from __future__ import annotations

import json
import os
import shutil
import sys
import warnings
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from secateur.shrinking import unwrapped
from secateur.storage.files import write_aside
from secateur.storage.outline import is_extra, kind, outline, short
from secateur.storage.values import check_shared

_MARK = b"secateur crc32 "  # the comment of the archive: this and eight hexadecimal digits, over all bytes before it
_LENGTH = len(_MARK) + 8


class DamagedError(ValueError):
    """A checkpoint that is not what was written."""


def named_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers under their plain names; take them before a method wraps the weights."""
    saved = model.state_dict(keep_vars=True)
    return {
        unwrapped(name): value
        for name, value in saved.items()
        if isinstance(value, Tensor) and not is_extra(name)
    }


def before(path: Path) -> Path:
    """Where the checkpoint before the one at ``path`` is kept."""
    return path.with_name(f"{path.stem}.before{path.suffix}")


def save_snapshot(
    path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any], rows: list[dict[str, Any]]
) -> None:
    """Writes a checkpoint, aside and renamed; the one that was there is kept beside it, see :func:`before`.

    Args:
        path: The file.
        tensors: The model's, of :func:`named_tensors`.
        state: Everything else: tensors and plain values.
        rows: The history so far.
    """
    content = {"model": {n: t.detach() for n, t in tensors.items()}, "rows": json.dumps(rows), **state}
    content["outline"] = json.dumps(outline(content))

    def write(aside: Path) -> None:
        with aside.open(
            "wb", buffering=1 << 20
        ) as file:  # an archive that torch opens itself is called after its file, process and all
            torch.save(_unshared(content), file)
        _seal(aside)
        last = before(path)
        if path.exists() and not (last.exists() and last.samefile(path)):  # a kill may have left both names
            write_aside(last, lambda other: _link(path, other))

    write_aside(path, write)


def load_snapshot(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Reads a checkpoint and checks that it is whole and belongs to this model; nothing is changed yet.

    Raises:
        ValueError: If the file is damaged or belongs to another model.
    """
    try:
        state = _read(path)
    except DamagedError as error:
        other = before(path)
        try:
            step = _read(other)["step"]
        except (OSError, KeyError, DamagedError):
            remedy = "delete it to train from the start"
        else:
            remedy = f"the one before it, {other}, of step {step}, is whole: rename it to {path.name} to go on from there"
        raise ValueError(f"The checkpoint {path} {error}; {remedy}.") from error
    check_shapes(str(path), {n: kind(t) for n, t in state["model"].items()}, tensors)
    check_shared(str(path), tensors, state["model"])
    return state


def check_shapes(source: str, found: Mapping[str, str], tensors: Mapping[str, Tensor]) -> None:
    """Raises ValueError naming the first differences if ``found`` are not the names, dtypes and shapes of ``tensors``."""
    wanted = {name: kind(t) for name, t in tensors.items()}
    differences: list[str] = []
    for name in sorted(found.keys() | wanted.keys()):
        theirs, mine = found.get(name, "absent"), wanted.get(name, "absent")
        if theirs != mine:
            same = (
                theirs.split(" ")[0] == mine.split(" ")[0]
            )  # the dtype goes without saying where it is no difference
            told = (theirs.split(" ", 1)[1], mine.split(" ", 1)[1]) if same else (theirs, mine)
            differences.append(short(f"{name}: file {told[0]}, model {told[1]}", 120))
    if differences:
        more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
        raise ValueError(
            f"{source} belongs to another model: {'; '.join(differences[:3])}{more}. Build the model it was saved from."
        )


def _read(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        _check_whole(file)
        file.seek(0)
        try:
            with warnings.catch_warnings(action="ignore"):  # of sparse tensors, which torch says are new
                state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
            state["rows"] = json.loads(state["rows"])
            written, there = json.loads(state.pop("outline")), outline({**state, "rows": ""})
            held = state["model"]
        except Exception as error:  # what a torn archive or pickle raises is of every kind
            raise DamagedError(f"is truncated or damaged ({type(error).__name__})") from error
    if wrong := sorted(n for n in written.keys() | there.keys() if written.get(n) != there.get(n)):
        told = [
            f"{n} is {there.get(n, 'missing')}, written was {written.get(n, 'nothing')}" for n in wrong[:3]
        ]
        raise DamagedError(f"is not what was written: {'; '.join(told)}")
    if not isinstance(held, dict) or not all(isinstance(v, Tensor) for v in held.values()):
        raise DamagedError("holds no model's tensors")
    return state


def _check_whole(file: BinaryIO) -> None:
    """Raises DamagedError if the bytes are not those that were written; torch itself does not look."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _LENGTH))
    sealed = file.read()
    file.seek(0)
    if sealed.startswith(_MARK):
        if sealed[len(_MARK) :] != _checksum(file, size - _LENGTH):
            raise DamagedError("is damaged: its checksum is another")
        return
    try:  # not sealed by us, or the seal is what was cut off: the archive has a checksum of each part
        with zipfile.ZipFile(file) as archive:
            wrong = archive.testzip()
    except Exception as error:  # zipfile raises errors of every kind for torn files
        raise DamagedError(f"is truncated or damaged ({type(error).__name__})") from error
    if wrong:
        raise DamagedError(f"is damaged in {wrong}")


def _seal(path: Path) -> None:
    """Adds the checksum of all bytes as the archive's comment, so that the file stays one that torch reads."""
    with path.open("rb+") as file:
        size = file.seek(-2, os.SEEK_END) + 2
        file.write(_LENGTH.to_bytes(2, "little"))
        file.seek(0)
        seal = _MARK + _checksum(file, size)
        file.write(seal)


def _checksum(file: BinaryIO, size: int) -> bytes:
    """CRC-32 of the next ``size`` bytes; it finds damage, it is no signature."""
    found = 0
    while size > 0 and (piece := file.read(min(size, 1 << 20))):
        found, size = zlib.crc32(piece, found), size - len(piece)
    return b"%08x" % found


def _unshared(value: Any) -> Any:
    """The same values, none of which is by chance the same object as another: so the same state is the same bytes."""
    if type(value) in (dict, OrderedDict):
        made = type(value)((_unshared(key), _unshared(item)) for key, item in value.items())
        if versions := getattr(value, "__dict__", None):  # of a module's state
            vars(made).update(versions)
        return made
    if type(value) in (list, tuple):
        return type(value)(map(_unshared, value))
    return sys.intern(value) if type(value) is str else value


def _link(path: Path, other: Path) -> None:
    """A second name for the file, or a copy where there are no such links."""
    other.unlink(missing_ok=True)
    try:
        os.link(path, other)
    except OSError:
        shutil.copyfile(path, other)
