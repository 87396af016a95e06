"""Streams of frames, each field of which is a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from torch import Tensor
from torch.utils.data import Dataset

from secateur.data.arrow import encoded_image, of_split
from secateur.data.augment import Sample
from secateur.data.fields import Decode
from secateur.data.reading import picture
from secateur.data.rows import DecodeCell
from secateur.data.splitting import VALIDATION
from secateur.data.streams.aside import set_aside
from secateur.data.streams.finding import shards_by_split, shards_of
from secateur.data.streams.streamed import Streamed

_BUFFER = 200  # frames of about a megabyte


def streamed_frames(
    root: Path,
    fields: Mapping[str, tuple[str, Decode]],
    size: tuple[int, int],
    combine: Callable[[Sample], Sample] | None = None,
    *,
    val_count: int,
    seed: int,
    buffer: int | None = None,
) -> dict[str, Dataset[Sample]]:
    """Frames in ``train``, ``val`` and ``test``: files ``KEY.NAME.png`` of tar shards, or columns that are called ``NAME``.

    Without shards to test on those of validation are tested on; what is missing is held out of train.

    Args:
        root: Folder with the shards.
        fields: Field of a sample, ``image`` among them, to the name that it has there and how its array is decoded.
        size: ``(height, width)`` to resize to, pixels.
        combine: As of :class:`Streamed`.
        val_count: Training frames held out to choose settings on, where needed.
        seed: Of what is held out.
        buffer: As of :class:`Streamed`; 200 if None.

    Raises:
        FileNotFoundError: If a split or a shard is missing.
        ValueError: If a shard is damaged or an argument is out of range.
    """
    files = shards_by_split(root)

    def split(*names: str) -> Streamed:
        found = of_split(files, names, root)
        ending = ".png" if found[0].suffix == ".tar" else ""
        columns: dict[str, tuple[str, DecodeCell]] = {
            field: (name + ending, partial(_decoded, decode=decode))
            for field, (name, decode) in fields.items()
        }
        shards = shards_of(found, [column for column, _ in columns.values()])
        return Streamed(shards, columns, size, combine=combine, buffer=_BUFFER if buffer is None else buffer)

    train, test = split("train"), split("test", *VALIDATION)
    if "test" in files and files.keys() & set(VALIDATION):
        return {"train": train, "val": split(*VALIDATION), "test": test}
    return {**set_aside(train, {"val": val_count}, seed), "test": test}


def _decoded(cell: object, place: str, decode: Decode) -> Tensor:
    return decode(picture(encoded_image(cell, place), place), place)
