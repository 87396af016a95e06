"""Which shards there are: of rows or tar files, and of which split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from secateur.data.arrow import beneath, files_by_split, has_files
from secateur.data.splitting import by_split, is_tar
from secateur.data.streams.rows import RowShards
from secateur.data.streams.shards import Shards
from secateur.data.streams.tars import TarShards


def shards_by_split(root: Path) -> dict[str, list[Path]]:
    """The shards under ``root`` by the name of their split, all of one kind, each split in the order of their names.

    Their split is read as :func:`~secateur.data.arrow.files_by_split` does.

    Raises:
        FileNotFoundError: If there are none, or a link that is called as a split leads nowhere.
        ValueError: If there are both kinds, a tar is compressed, or as :func:`~secateur.data.splitting.by_split`.
    """
    tars = beneath(root, is_tar)
    if not tars:
        return files_by_split(root)
    if has_files(root):
        raise ValueError(
            f"root={str(root)!r} holds both tar shards and Parquet or Arrow files; move one kind away."
        )
    for file in tars:
        if file.suffix != ".tar":
            raise ValueError(
                f"{file} is compressed, so it cannot be begun in the middle; unpack it to .tar: pictures are compressed already."
            )
    return by_split(tars, root)


def check_no_tars(root: Path) -> None:
    """Raises ValueError if tar shards are all that there is, which are streamed or not read."""
    if not has_files(root) and beneath(root, is_tar):
        raise ValueError(
            f"root={str(root)!r} holds tar shards, which can be streamed alone; give stream=true."
        )


def shards_of(files: Sequence[Path], columns: Sequence[str]) -> Shards:
    """What reads these columns of shards that are all of one kind."""
    return (TarShards if files[0].suffix == ".tar" else RowShards)(files, columns)
