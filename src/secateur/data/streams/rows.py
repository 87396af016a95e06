"""Shards of rows: Parquet files and those of ``datasets.save_to_disk``, streamed by ``datasets``."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from secateur.data.arrow import open_file, schema_of
from secateur.data.streams.shards import Cells, Shards


class RowShards(Shards):
    """Parquet or Arrow files, read from beginning to end by an ``IterableDataset`` of ``datasets`` each.

    Nothing is decoded by it, so that no path or address in a row is followed; nothing is fetched, and no copy is made.

    Args:
        files: ``.parquet``, or ``.arrow`` as ``save_to_disk`` writes them.
        columns: Those to read.

    Raises:
        ImportError: If datasets is not installed; it says what to install.
        FileNotFoundError: If a file is missing or empty.
        ValueError: If one is corrupt or lacks a column; names both.
    """

    def __init__(self, files: Sequence[Path], columns: Sequence[str]) -> None:
        super().__init__(files, columns)
        _datasets()
        self.counts = tuple(_rows(open_file(file, self.columns)) for file in self.files)

    def count(self, shard: int) -> int:
        """As the file says."""
        return self.counts[shard]

    def available(self, shard: int, start: int, most: int) -> int:
        """See :meth:`Shards.available`."""
        return max(0, min(most, self.counts[shard] - start))

    def read(self, shard: int, start: int) -> Iterator[tuple[Cells, str]]:
        """See :meth:`Shards.read`; what is before ``start`` in a Parquet file's group of rows is read too."""
        file, number = self.files[shard], start
        open_file(file, self.columns)  # names what datasets would not, and what could end the process
        self.check_unchanged(shard)
        if start >= self.counts[shard]:
            return
        try:
            with closing(iter(self._stream(file).skip(start))) as rows:
                for row in rows:
                    yield row, f"{file}, row {number}"
                    number += 1
        except Exception as error:  # what is damaged makes pyarrow and datasets raise what they like
            raise ValueError(f"{file} is corrupt at row {number} ({error}); copy it again.") from error
        if number != self.counts[shard]:
            raise ValueError(
                f"{file} ends after row {number - 1}, and says that it has {self.counts[shard]} rows; copy it again."
            )

    def cell(self, cells: Cells, column: str, place: str) -> Any:
        """See :meth:`Shards.cell`."""
        return cells[column]

    def _stream(self, file: Path) -> Any:
        """The rows as ``datasets`` streams them, images as they are encoded."""
        datasets = _datasets()
        if file.suffix == ".parquet":
            schema = schema_of(open_file(file)).remove_metadata()  # in which it is written what is an image
            kinds = datasets.Features.from_arrow_schema(schema)
            kinds = datasets.Features({column: kinds[column] for column in self.columns})
            with (
                tempfile.TemporaryDirectory() as aside
            ):  # for a lock, which it would make among the user's own
                return datasets.IterableDataset.from_parquet(
                    str(file), columns=list(self.columns), features=kinds, cache_dir=aside
                )
        found = datasets.IterableDataset.from_file(str(file)).select_columns(list(self.columns))
        for column, kind in found.features.items():
            if isinstance(kind, datasets.Image):
                found = found.cast_column(column, datasets.Image(decode=False))
        return found


def _rows(opened: Any) -> int:
    """How many are in a file that is open."""
    return opened.metadata.num_rows if hasattr(opened, "schema_arrow") else opened.num_rows


def _datasets() -> Any:
    try:
        return importlib.import_module("datasets")
    except ImportError as error:
        raise ImportError(
            f"Parquet and Arrow files are streamed by datasets: pip install 'secateur[stream]' ({error})."
        ) from error
