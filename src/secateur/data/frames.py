"""Frames that lie on disk as one file a field, checked to exist and decoded when asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

from torch import Tensor
from torch.utils.data import Dataset

from secateur.data.augment import Sample, resize
from secateur.data.fields import Array, Decode, image_field, label_field, normal_field
from secateur.data.reading import holds_something, load

Reader = Callable[[Path], Tensor]
"""The field of a sample that lies in a file."""


@runtime_checkable
class OnDisk(Protocol):
    """Samples whose files can be checked to be there without decoding them."""

    def check(self) -> None:
        """Raises FileNotFoundError if files are missing or empty."""
        ...


class Frames(Dataset[Sample]):
    """Frames given as ``{field: path}``, decoded when asked for.

    The fields of one frame must be of one height and width; frames may differ from each other, for all are resized.
    Building it touches no file: :meth:`check` does.

    Args:
        frames: For each frame the file of each field, ``image`` among them.
        readers: How to read each field.
        size: ``(height, width)`` to resize to, pixels.
        source: What lists the frames, for errors.
        combine: What is done to a frame before it is resized, such as masking one field by another.
    """

    def __init__(
        self,
        frames: Sequence[Mapping[str, Path]],
        readers: Mapping[str, Reader],
        size: tuple[int, int],
        *,
        source: Path,
        combine: Callable[[Sample], Sample] | None = None,
    ) -> None:
        self.frames, self.readers, self.size = frames, dict(readers), size
        self.source, self.combine = source, combine

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Sample:
        """The frame at ``size``.

        Raises:
            FileNotFoundError: If one of its files is missing or empty; names it.
            ValueError: If one is corrupt, of another size than the image, of the wrong kind, or holds what it must
                not; names it.
        """
        frame = self.frames[index]
        sample = {field: reader(frame[field]) for field, reader in self.readers.items()}
        height, width = sample["image"].shape[-2:]
        for field, x in sample.items():
            if x.shape[-2:] != (height, width):
                raise ValueError(
                    f"{frame[field]} is {x.shape[-1]}x{x.shape[-2]} pixels, but the frame's image is {width}x{height}; "
                    f"copy both again or take the frame off {self.source}."
                )
        return resize(self.combine(sample) if self.combine else sample, self.size)

    def check(self) -> None:
        """Looks up every file, without opening any.

        Raises:
            FileNotFoundError: If files are missing or empty; counts them and names the first.
        """
        if not len(self.frames):
            raise FileNotFoundError(f"{self.source} lists no frames; copy the data again.")
        check_files((frame[field] for frame in self.frames for field in self.readers), self.source)


def check_files(files: Iterable[Path], source: Path) -> None:
    """Raises FileNotFoundError if ``files``, listed by ``source``, are missing or empty; counts them, names the first."""
    absent, total = list[Path](), 0
    for file in files:
        total += 1
        if not holds_something(file):
            absent.append(file)
    if absent:
        first = ", ".join(str(file) for file in absent[:3])
        raise FileNotFoundError(
            f"{len(absent)} of the {total} files that {source} stands for are missing or empty: {first}"
            f"{', ...' if len(absent) > 3 else ''}. Copy the folder again, or take the frames off the list."
        )


def reader(decode: Decode) -> Reader:
    """Reads an image file, or a ``.npy`` array, and decodes it."""
    return partial(_read, decode=decode)


def readers(fields: Sequence[str], table: Array, depth: Decode) -> dict[str, Reader]:
    """A reader for each of image, seg, normal and depth that is among ``fields``.

    Args:
        fields: Wanted.
        table: Of the labels of seg (:func:`~secateur.data.fields.label_table`).
        depth: How depth is decoded.
    """
    decode: dict[str, Decode] = {
        "image": image_field,
        "seg": partial(label_field, table=table),
        "normal": normal_field,
        "depth": depth,
    }
    return {field: reader(decode[field]) for field in fields}


def _read(path: Path, decode: Decode) -> Tensor:
    return decode(load(path), str(path))
