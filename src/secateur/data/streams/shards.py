"""What a stream is read from: shards, each read from any of its samples on to its end."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

_END = 2**14  # bytes; a tar is filled up with zeros to 10 KiB and more
Cells = Mapping[str, Any]
"""What was read of one sample, not yet decoded, by column or by the ending of a file's name."""


class Shards(ABC):
    """Files whose samples are read one after the other; it is small, for processes that load get a copy.

    Args:
        files: The shards, in an order that is the same everywhere.
        columns: Those to read.
    """

    def __init__(self, files: Sequence[Path], columns: Sequence[str]) -> None:
        self.files, self.columns = tuple(files), tuple(dict.fromkeys(columns))
        self.sizes = tuple(file.stat().st_size if file.is_file() else 0 for file in self.files)

    def check_unchanged(self, shard: int) -> None:
        """Raises ValueError if a shard was replaced since: its places would be those of other samples."""
        size = self.files[shard].stat().st_size
        if size != self.sizes[shard]:
            raise ValueError(
                f"{self.files[shard]} has {size} bytes and had {self.sizes[shard]} when it was first looked at; put it back, or begin anew."
            )

    @abstractmethod
    def count(self, shard: int) -> int | None:
        """Samples in a shard, where that is known without looking through it."""

    @abstractmethod
    def available(self, shard: int, start: int, most: int) -> int:
        """Samples from number ``start`` of a shard on, ``most`` at most, without reading what is in them."""

    @abstractmethod
    def read(self, shard: int, start: int) -> Iterator[tuple[Cells, str]]:
        """The samples of a shard from number ``start`` on, and what errors call each.

        Raises:
            FileNotFoundError: If the file is missing or empty.
            ValueError: If it is damaged, or a sample lacks a column; names both.
        """

    @abstractmethod
    def cell(self, cells: Cells, column: str, place: str) -> Any:
        """What a sample holds in one column: a number, bytes, or ``{"bytes": ..., "path": ...}`` for an encoded image.

        Raises:
            ValueError: If it cannot be read, beginning with ``place``.
        """

    @property
    def fingerprint(self) -> str:
        """Of names, sizes and the ends of the files, wherever they lie: the same shards have the same.

        Of each the first and the last 16 KiB are read: what stands between may be replaced unseen.
        """
        found, above = hashlib.sha256(), os.path.commonpath([file.parent for file in self.files])
        for file, size in zip(self.files, self.sizes, strict=True):
            found.update(f"{file.relative_to(above).as_posix()} {size}\n".encode())
            if size:
                with file.open("rb") as content:
                    found.update(content.read(_END))
                    content.seek(max(0, size - _END))
                    found.update(content.read(_END))
        return found.hexdigest()[:12]
