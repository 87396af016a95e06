"""Samples in the rows of Parquet and Arrow files."""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from secateur.data.arrow import cell, damage, open_file
from secateur.data.augment import Sample, resize

DecodeCell = Callable[[Any, str], Tensor]
"""``(cell, place) -> field``; raises ValueError, beginning with ``place``, for what it cannot be."""
_BATCH = 16  # rows of a Parquet file decoded at once


class RowFrames(Dataset[Sample]):
    """Frames that are rows of files, decoded when asked for.

    Args:
        files: As of :class:`Rows`.
        columns: Field of a sample, ``image`` among them, to its column and how to decode a cell.
        size: ``(height, width)`` to resize to, pixels.
    """

    def __init__(
        self,
        files: Sequence[Path],
        columns: Mapping[str, tuple[str, DecodeCell]],
        size: tuple[int, int],
    ) -> None:
        self.columns, self.size = dict(columns), size
        self.rows = Rows(files, list(dict.fromkeys(column for column, _ in columns.values())))

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def in_order(self) -> bool:
        """Whether reading in any other order is slow: so it is with Parquet."""
        return any(file.suffix == ".parquet" for file in self.rows.files)

    def __getitem__(self, index: int) -> Sample:
        """The frame at ``size``; ValueError, naming file, row and column, for what cannot be decoded."""
        file, number = self.rows.place(index)
        return framed(self.rows[index].__getitem__, self.columns, f"{file}, row {number}", self.size)


def framed(
    read: Callable[[str], Any],
    columns: Mapping[str, tuple[str, DecodeCell]],
    place: str,
    size: tuple[int, int],
    combine: Callable[[Sample], Sample] | None = None,
) -> Sample:
    """A sample of the cells of one row.

    Args:
        read: Column to its cell.
        columns: Field to its column and how to decode a cell.
        place: What errors call the row.
        size: ``(height, width)`` to resize to, pixels.
        combine: What is done to it before that.

    Raises:
        ValueError: If a cell cannot be decoded, or is of another size than the image; names row and column.
    """
    sample: Sample = {f: decode(read(c), f"{place}, {c}") for f, (c, decode) in columns.items()}
    height, width = sample["image"].shape[-2:]
    for field, x in sample.items():
        if x.dim() and x.shape[-2:] != (height, width):
            raise ValueError(
                f"{place}: {columns[field][0]} is {x.shape[-1]}x{x.shape[-2]} pixels, but the image is "
                f"{width}x{height}; drop the row or write the file again."
            )
    return resize(combine(sample) if combine else sample, size)


class Rows:
    """The rows of several files, one after another.

    Rows of an Arrow file are read in any order at no cost. Those of a Parquet file are decoded some at a time, in order:
    a jump back decodes its group of rows again.

    Args:
        files: ``.parquet``, or ``.arrow`` as ``save_to_disk`` writes them.
        columns: Those to read.

    Raises:
        ImportError: If pyarrow is not installed; it says what to install.
        FileNotFoundError: If there is no file, or one is empty.
        ValueError: If a file is corrupt or lacks a column; names both.
    """

    def __init__(self, files: Sequence[Path], columns: Sequence[str]) -> None:
        self.files, self.columns = tuple(files), tuple(columns)
        self.ends = list(accumulate(_File(path, self.columns).count for path in self.files))
        self._reset()

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Row ``index``: numbers, text, arrays, or ``{"bytes": ..., "path": ...}`` for an encoded image.

        Raises:
            IndexError: If there is no such row.
            ValueError: If the file is corrupt there.
        """
        file, row = self.place(index)
        with self._lock:
            if self._process != os.getpid():  # a file that is open cannot be shared with a forked worker
                self._open, self._process = {}, os.getpid()
            if file not in self._open:
                if file.suffix == ".parquet":  # holds decoded rows
                    self._open.clear()
                self._open[file] = _File(file, self.columns)
            return self._open[file].row(row)

    def place(self, index: int) -> tuple[Path, int]:
        """The file that holds row ``index``, and its number there."""
        if not 0 <= index < len(self):
            raise IndexError(f"Row {index} of {len(self)}.")
        number = bisect_right(self.ends, index)
        return self.files[number], index - (self.ends[number - 1] if number else 0)

    def __getstate__(self) -> dict[str, Any]:
        return {"files": self.files, "columns": self.columns, "ends": self.ends}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    def _reset(self) -> None:
        self._lock, self._process = threading.Lock(), os.getpid()
        self._open = dict[Path, _File]()


class _File:
    """One open file."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path, self.columns = path, list(columns)
        self.parquet = path.suffix == ".parquet"
        self.file = open_file(path, columns)
        self.ends = (
            list(
                accumulate(self.file.metadata.row_group(g).num_rows for g in range(self.file.num_row_groups))
            )
            if self.parquet
            else [self.file.num_rows]
        )
        self.count: int = self.ends[-1] if self.ends else 0
        self.group, self.batches = -1, iter(())
        self.held: list[tuple[int, Any]] = []  # the last two batches, with the number of their first row

    def row(self, index: int) -> dict[str, Any]:
        try:
            first, table = self._parquet(index) if self.parquet else (0, self.file)
            return {name: cell(table.column(name), index - first) for name in self.columns}
        except damage() as error:
            raise ValueError(f"{self.path} is corrupt at row {index} ({error}); copy it again.") from error

    def _parquet(self, index: int) -> tuple[int, Any]:
        """The batch that holds row ``index``, and the number of its first row."""
        group = bisect_right(self.ends, index)
        if group != self.group or (self.held and index < self.held[0][0]):
            self.group, self.held = group, []
            self.batches: Iterator[Any] = self.file.iter_batches(
                _BATCH, row_groups=[group], columns=self.columns, use_threads=False
            )
        while not self.held or index >= self.held[-1][0] + self.held[-1][1].num_rows:
            start = (
                self.held[-1][0] + self.held[-1][1].num_rows
                if self.held
                else (self.ends[group - 1] if group else 0)
            )
            batch = next(self.batches, None)
            if batch is None:
                raise ValueError("its rows end early")
            self.held = [*self.held[-1:], (start, batch)]
        return next((start, batch) for start, batch in reversed(self.held) if index >= start)
