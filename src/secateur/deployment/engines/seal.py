"""A checksum at the end of an exported file, in words that its format passes over, so that damage is told."""

from __future__ import annotations

import re
import zlib
from collections.abc import MutableMapping
from pathlib import Path

_MARK = b"secateur crc32"
_AROUND = {
    ".onnx": (b"\x72\x1a\x0a\x0e" + _MARK + b"\x12\x08", b""),  # one more entry of metadata_props, field 14
    ".pt2": (_MARK + b" ", b""),  # the comment of the archive
    ".xml": (b"<!-- " + _MARK + b" ", b" -->\n"),
    ".pte": (_MARK + b" ", b""),  # beyond what the header says
}
_PIECE = 1 << 20


def seal(path: Path) -> None:
    """Adds the checksum of all bytes, those of the weights beside an ``.xml`` included."""
    before, after = _AROUND[path.suffix]
    if path.suffix == ".pt2":
        with path.open("rb+") as file:
            file.seek(-2, 2)
            file.write((len(before) + 8).to_bytes(2, "little"))
    with path.open("ab") as file:
        file.write(before)
    digits = _checksum(path, path.stat().st_size)
    with path.open("ab") as file:
        file.write(digits + after)


def is_sealed(path: Path) -> bool:
    """Whether the file ends with a checksum of ours."""
    return _seal_of(path) is not None


def unseal(metadata: MutableMapping[str, str]) -> None:
    """Takes the checksum out of the metadata of an ONNX model that is about to be changed; :func:`seal` adds a new one."""
    metadata.pop(_MARK.decode(), None)


def check_seal(path: Path) -> None:
    """Raises ValueError if the file, or the weights beside it, are not as they were written."""
    found, after = _seal_of(path), _AROUND[path.suffix][1]
    if found is None:
        raise ValueError(
            f"{path} carries no metadata of secateur at its end: it was cut short or changed: export it again; or secateur.export did "
            "not write it: name its outputs, such as --outputs '{seg: output}' (outputs= in Python), where it is .onnx or .xml."
        )
    if found != _checksum(path, path.stat().st_size - 8 - len(after)):
        raise ValueError(f"{path} is damaged: its checksum is another; export it again.")


def _seal_of(path: Path) -> bytes | None:
    """The eight digits at the end of the file."""
    before, after = _AROUND[path.suffix]
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - len(before) - 8 - len(after)))
        found = re.fullmatch(re.escape(before) + rb"([0-9a-f]{8})" + re.escape(after), file.read())
    return found and found[1]


def _checksum(path: Path, size: int) -> bytes:
    """CRC-32 of the first ``size`` bytes and of the weights; it finds damage, it is no signature."""
    found = 0
    with path.open("rb") as file:
        while size > 0 and (piece := file.read(min(size, _PIECE))):
            found, size = zlib.crc32(piece, found), size - len(piece)
    beside = path.with_suffix(".bin")
    if path.suffix == ".xml" and beside.is_file():
        with beside.open("rb") as file:
            while piece := file.read(_PIECE):
                found = zlib.crc32(piece, found)
    return b"%08x" % found
