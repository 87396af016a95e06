"""Files, folders and arrays to pictures, float (3, H, W) in [0, 1]; all are read once before any is used."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from secateur.data.augment import resize
from secateur.data.fields import Array, image_field
from secateur.data.reading import check_leads, holds_something, is_apart, load_npy, load_npz, once, rgb, walk

_IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm")
SUFFIXES = (*_IMAGES, ".npy", ".npz")
"""What is taken from a folder; case does not matter."""

_SHOWN = 5  # files that are no pictures and are named; how many more there are is said


@dataclass(frozen=True)
class Photos:
    """The pictures in one file.

    Args:
        path: The file.
        names: What to call each, relative to a folder of results and without a suffix; no two are alike.
    """

    path: Path
    names: tuple[str, ...]

    def read(self) -> Iterator[tuple[str, Tensor]]:
        """Each with its name, float (3, H, W) RGB in [0, 1].

        Raises:
            ValueError: If it is no picture; it names the file.
        """
        yield from zip(self.names, (x for _, x in _pictures(self.path)), strict=True)


def find_photos(paths: Sequence[Path], leave: Collection[Path] = ()) -> tuple[list[Photos], int]:
    """Every picture in files and folders, read to see that it is one.

    A folder is searched with the folders in it and those that links lead to; of an array (H, W, 3), (N, H, W, 3) or, channels first, (3, H, W), (N, 3, H, W), bytes
    or floats in [0, 1], each image counts, and of an ``.npz`` archive those of each array. The channels are the end that is 3 long;
    where both are, it is refused.

    Args:
        paths: Files and folders.
        leave: Files in those folders that are none of the pictures.

    Returns:
        The files, and how many others in the folders were left out, being of other suffixes.

    Raises:
        FileNotFoundError: If there is nothing at a path, or where a link in a folder leads that may be to pictures.
        ValueError: If a folder holds no picture, or something is none; the files are named.
    """
    left = {path.resolve() for path in leave}
    files: list[tuple[Path, Path]] = []  # with the place that it is named after
    others = set[Path]()
    for path in paths:
        if not path.is_dir():
            if not path.is_file():
                raise FileNotFoundError(f"Nothing at {path}; check the path.")
            files.append((path, Path(path.name)))
            continue
        inside = [p for p in _beneath(path) if p.resolve() not in left]
        found = [p for p in inside if p.suffix.lower() in SUFFIXES]
        if not found:
            raise ValueError(
                f"{path} holds no picture and no array: no file ends in {', '.join(SUFFIXES)}; check the path."
            )
        others |= {p.resolve() for p in inside} - {p.resolve() for p in found}
        files += [(p, p.relative_to(path)) for p in found]
    return _named(list({path.resolve(): (path, place) for path, place in files}.values())), len(others)


def normalised(picture: Tensor, size: tuple[int, int], mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """A picture (3, H, W) at ``size`` = (height, width) as data sets resize theirs, minus ``mean``, over ``std``."""
    fitted = resize({"image": picture}, size)["image"]
    return (fitted - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


def _beneath(root: Path) -> list[Path]:
    """The files in a folder and those in it, each once; where links lead to it as well, by the path without one."""
    found: list[Path] = []
    for here, inside, files in walk(root):
        inside[:] = [name for name in inside if not is_apart(name)]
        for path in (here / name for name in files if not is_apart(name)):
            check_leads(path, path.suffix.lower() in SUFFIXES)
            found += [path] if path.is_file() else []
    return once(found, root)


def _named(files: Sequence[tuple[Path, Path]]) -> list[Photos]:
    """Reads all; each is named after its file's stem, or where that is not enough, its whole name."""
    wrong: list[str] = []
    keys: list[list[str]] = []
    for path, _ in files:
        try:
            keys.append([key for key, _ in _pictures(path)])
        except (ValueError, OSError) as error:
            wrong.append(str(error))
    if wrong:
        more = f" And {len(wrong) - _SHOWN} more." if len(wrong) > _SHOWN else ""
        raise ValueError(" ".join(wrong[:_SHOWN]) + more)
    stems = [str(place.with_suffix("")).casefold() for _, place in files]
    count = Counter(stems)
    found: list[Photos] = []
    for (path, place), stem, inside in zip(files, stems, keys, strict=True):
        start = place.with_suffix("") if count[stem] == 1 else place
        found.append(Photos(path, tuple(start.with_name(start.name + key).as_posix() for key in inside)))
    names = Counter(name.casefold() for photos in found for name in photos.names)
    if twice := [name for name, times in names.items() if times > 1]:
        raise ValueError(
            f"Several pictures would be called {twice[0]!r} in the results; rename one, or take them one by one."
        )
    return found


def _pictures(path: Path) -> Iterator[tuple[str, Tensor]]:
    """What is added to the name of the file for each picture in it, and the picture."""
    if not holds_something(path):
        raise FileNotFoundError(f"{path} is missing or empty; copy it again or take it out.")
    if path.suffix.lower() not in (".npy", ".npz"):
        yield "", image_field(rgb(path, str(path), upright=True), str(path))
        return
    arrays = _arrays(path)
    for name, array in arrays.items():
        place = f"{path}[{name!r}]" if name else str(path)
        start = f"-{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}" if name else ""
        if array.ndim == 3:
            yield start, image_field(_last(array, place), place)
        elif array.ndim == 4 and len(array):
            wide = len(str(len(array) - 1))
            for index, one in enumerate(array):
                yield (
                    f"{start}-{index:0{wide}}",
                    image_field(_last(one, f"{place}[{index}]"), f"{place}[{index}]"),
                )
        else:
            raise ValueError(
                f"{place}: shape {array.shape}; give pictures, (height, width, 3) or (N, height, width, 3), or with the 3 channels "
                "before the height."
            )


def _last(array: Array, place: str) -> Array:
    """A picture with its channels last.

    Raises:
        ValueError: If both ends could be its channels.
    """
    if array.shape[0] == array.shape[-1] == 3:
        raise ValueError(
            f"{place}: shape {array.shape} is a picture 3 pixels high, or one 3 pixels wide with its channels first; nobody can tell, "
            "so save it as .png."
        )
    return array.transpose(1, 2, 0) if array.shape[0] == 3 else array


def _arrays(path: Path) -> dict[str, Array]:
    try:
        if path.suffix.lower() == ".npy":
            return {"": load_npy(path)}
        with path.open("rb") as file, np.load(file) as archive:
            names = list(archive.files)
    except Exception as error:  # a flipped bit makes decoders raise what they like
        raise ValueError(f"{path} cannot be read as an array ({error}); save it again with NumPy.") from error
    if not names:
        raise ValueError(f"{path} holds no array; take it out.")
    return load_npz(path, names)
