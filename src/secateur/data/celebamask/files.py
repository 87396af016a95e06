"""The files of CelebAMask-HQ: attributes, pictures, masks of parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from secateur.data.augment import Sample, nearest, resize
from secateur.data.fields import image_field, label_field, plain_labels
from secateur.data.frames import check_files, reader
from secateur.data.reading import load, read_text

_IMAGES, _PARTS, _MERGED = "CelebA-HQ-img", "CelebAMask-HQ-mask-anno", "CelebA-HQ-segmask"
_PER_FOLDER = 2000  # faces


@dataclass(frozen=True)
class Attributes:
    """The attributes of all faces.

    Args:
        source: The file they are from.
        names: Of the attributes.
        faces: Number of a face to its attributes, 0 or 1.
    """

    source: Path
    names: Sequence[str]
    faces: Mapping[int, Sequence[int]]


def read_attributes(source: Path) -> Attributes:
    """Reads ``CelebAMask-HQ-attribute-anno.txt``: a count, the names, then ``{i}.jpg`` and 1 or -1 for each.

    Raises:
        FileNotFoundError: If it is missing.
        ValueError: If a line is not of this form; gives its number.
    """
    if not source.exists():
        raise FileNotFoundError(f"{source} is missing; root must be the folder CelebAMask-HQ as downloaded.")
    lines = read_text(source).splitlines()
    names, faces = lines[1].split() if len(lines) > 1 else [], dict[int, Sequence[int]]()
    for number, line in enumerate(lines[2:], 3):
        first, *values = line.split() or [""]
        if not line.strip():
            continue
        stem = first.removesuffix(".jpg")
        if not stem.isdigit() or len(values) != len(names) or not set(values) <= {"1", "-1"}:
            raise ValueError(
                f"{source}, line {number}: it must be a number, .jpg and {len(names)} times 1 or -1; copy the file again."
            )
        faces[int(stem)] = bytes(value == "1" for value in values)
    if not lines or lines[0].strip() != str(len(faces)) or not faces:
        raise ValueError(
            f"{source} says that it has {lines[0].strip() if lines else 'no'} faces, but has {len(faces)}; copy it again."
        )
    return Attributes(source, names, faces)


class Faces(Dataset[Sample]):
    """Faces by number, decoded when asked for; arguments as of :func:`celebamask`."""

    def __init__(
        self,
        root: Path,
        numbers: Sequence[int],
        table: Attributes,
        tasks: Sequence[str],
        size: tuple[int, int],
    ) -> None:
        self.root, self.numbers, self.size = root, numbers, size
        self.table, self.tasks = table, tuple(tasks)
        self.merged = (root / _MERGED).is_dir()

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Sample:
        """The face at ``size``; attributes are int64 scalars.

        Raises:
            FileNotFoundError: If its image, or its mask of skin, is missing or empty; names it.
            ValueError: If a file is corrupt or of the wrong kind, or a mask of another shape than the image; names it.
        """
        number = self.numbers[index]
        image = reader(image_field)(self._image(number))
        sample = dict(resize({"image": image}, self.size))
        for task in self.tasks:
            if task == "seg":
                mask = self._mask(number)
                self._check_shape(number, mask, image)
                sample[task] = nearest(mask, self.size)
            else:
                label = self.table.faces[number][self.table.names.index(task)]
                sample[task] = torch.tensor(label)
        return sample

    def check(self) -> None:
        """Raises FileNotFoundError if images or masks are missing or empty; counts them, names the first."""
        check_files(self._files(), self.table.source)

    def has_hair(self) -> bool:
        """Whether masks of hair are there: of one face at least, for many have none."""
        return self.merged or any(self._part(number, "hair").exists() for number in self.numbers)

    def _check_shape(self, number: int, mask: Tensor, image: Tensor) -> None:
        (h, w), (height, width) = mask.shape, image.shape[-2:]
        if h * width != w * height:
            path = self._merged(number) if self.merged else self._part(number, "skin")
            raise ValueError(
                f"{path} is {w}x{h} pixels, but the image is {width}x{height}, of another shape; copy both again."
            )

    def _files(self) -> Iterator[Path]:
        for number in self.numbers:
            yield self._image(number)
            if "seg" in self.tasks:
                yield self._merged(number) if self.merged else self._part(number, "skin")

    def _mask(self, number: int) -> Tensor:
        """Background 0, hair 1, skin 2: int64 (H, W)."""
        if self.merged:
            return reader(partial(label_field, table=plain_labels(3, ignored=())))(self._merged(number))
        skin = _part(self._part(number, "skin"))
        path = self._part(number, "hair")
        mask = torch.where(skin, 2, 0)
        if not path.exists():  # no hair is seen
            return mask
        hair = _part(path)
        if hair.shape != skin.shape:
            raise ValueError(
                f"{path} is {hair.shape[1]}x{hair.shape[0]} pixels, but the mask of skin is "
                f"{skin.shape[1]}x{skin.shape[0]}; copy both again."
            )
        return torch.where(hair, 1, mask)

    def _image(self, number: int) -> Path:
        return self.root / _IMAGES / f"{number}.jpg"

    def _merged(self, number: int) -> Path:
        return self.root / _MERGED / f"{number:05d}_mask.npy"

    def _part(self, number: int, part: str) -> Path:
        return self.root / _PARTS / str(number // _PER_FOLDER) / f"{number:05d}_{part}.png"


def _part(path: Path) -> Tensor:
    """Where a part is: bool (H, W). The official masks are grey or RGB, 0 and 255."""
    array = load(path)
    if array.ndim not in (2, 3):
        raise ValueError(f"{path}: shape {array.shape}; a mask must be grey or RGB. Copy it again.")
    return torch.as_tensor((array if array.ndim == 2 else array[..., 0]) > 0)
