"""Files to arrays and text; what cannot be read is named, whatever the decoder makes of it."""

from __future__ import annotations

import io
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from secateur.data.fields import Array

_EIGHT_BITS = {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "HSV", "LAB"}
_APART = {"__MACOSX", "__pycache__", "@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information"}
# Of a file's name; what a folder's may end in, such as v1.0 or St. Bernard, is none.
_ENDING = re.compile(r"\.[A-Za-z]\w{0,4}")
# Nothing else is tried: of an EPS, whatever its name, Pillow would make a program for Ghostscript.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "TGA")
# NumPy parses a file's header as Python code, and two threads that do so at once make CPython before 3.13 raise
# "AST constructor recursion depth mismatch" now and then: a whole file would be called corrupt.
_ONE_AT_A_TIME = threading.Lock()


def holds_something(path: Path) -> bool:
    """Whether there is such a file and it is not empty."""
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def is_apart(name: str) -> bool:
    """Whether a file or folder of this name is none of the data: hidden, or left there by a Mac's archive, a disk station or Python."""
    return name.startswith(".") or name in _APART


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, and what links there lead to, but for what :func:`is_apart`.

    Raises:
        FileNotFoundError: If it is missing, or a link in it that may be to a folder leads nowhere.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is missing or no folder; copy it again.")
    found = sorted(path for path in folder.iterdir() if not is_apart(path.name))
    for path in found:
        check_leads(path)
    return [path for path in found if path.is_dir()]


def walk(root: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """``os.walk`` in the order of names, through links to folders too, unless one leads to a folder that it lies in."""
    for name, inside, files in os.walk(root, followlinks=True):
        here = Path(name)
        inside[:] = sorted(name for name in inside if not _is_circle(here / name, root))
        yield here, inside, sorted(files)


def once(paths: Iterable[Path], root: Path, kind: Callable[[Path], object] = lambda _: None) -> list[Path]:
    """Each of the files under ``root`` once for each ``kind`` of its paths; if links lead to it as well, by the path without one.

    A path of no kind, None, goes where another is of one.
    """
    above = root.resolve()
    found: dict[Path, dict[object, Path]] = {}
    for path in paths:
        real, inside = path.resolve(), path.relative_to(root)
        named = found.setdefault(real, {})
        if (own := kind(inside)) not in named or real == above / inside:
            named[own] = path
    return sorted(
        p for named in found.values() for own, p in named.items() if own is not None or len(named) == 1
    )


def _is_circle(path: Path, root: Path) -> bool:
    if not path.is_symlink():
        return False
    above = [path.parent, *(folder for folder in path.parent.parents if folder.is_relative_to(root))]
    return any(folder.resolve().is_relative_to(path.resolve()) for folder in above)


def check_leads(path: Path, wanted: bool = False) -> None:
    """Raises FileNotFoundError if a path is a link that leads nowhere, and is ``wanted`` or may be to a folder: ``train``, not ``train.log``."""
    if path.is_symlink() and not path.exists() and (wanted or not _ENDING.fullmatch(path.suffix)):
        raise FileNotFoundError(
            f"{path} is a link to {path.readlink()}, where there is nothing; copy what it led to, or take the link away."
        )


def load(path: Path) -> Array:
    """The array in an image file, (H, W) or (H, W, C), or in a ``.npy`` file.

    Raises:
        FileNotFoundError: If it is missing or empty.
        ValueError: If it is corrupt.
    """
    try:
        if path.suffix == ".npy":
            return load_npy(path)
        with Image.open(path, formats=_FORMATS) as image:
            return np.asarray(image)
    except Exception as error:  # a flipped bit makes decoders raise what they like
        if not holds_something(path):
            raise FileNotFoundError(
                f"{path} is missing or empty; copy it again or take the frame off the list."
            ) from error
        raise ValueError(
            f"{path} is corrupt ({error}); copy it again or take the frame off the list."
        ) from error


def picture(content: bytes, place: str) -> Array:
    """The array in an image file of this content, (H, W) or (H, W, C), with as many bits as it has.

    Raises:
        ValueError: If it is corrupt.
    """
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            return np.asarray(image)
    except Exception as error:  # as above
        raise ValueError(f"{place} is corrupt or no image ({error}); write the sample again.") from error


def load_npy(path: Path, mapped: bool = False) -> Array:
    """The array in a ``.npy`` file, left on disk if ``mapped``; raises whatever numpy raises."""
    with _ONE_AT_A_TIME:
        found = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    if not isinstance(found, np.ndarray):
        raise ValueError("it is an archive of arrays")
    return found


def load_npz(path: Path, names: Sequence[str]) -> dict[str, Array]:
    """Those of the arrays ``names`` that an ``.npz`` archive holds.

    Raises:
        FileNotFoundError: If it is missing or empty.
        ValueError: If it is corrupt.
    """
    try:
        with path.open("rb") as file, np.load(file) as archive:
            return {name: archive[name] for name in names if name in archive}
    except Exception as error:  # as above
        if not holds_something(path):
            raise FileNotFoundError(f"{path} is missing or empty; copy it again.") from error
        raise ValueError(f"{path} cannot be read as an .npz archive ({error}); copy it again.") from error


def rgb(source: Path | io.BytesIO, place: str, upright: bool = False) -> Array:
    """A picture as 8-bit RGB (H, W, 3); one of grey, of a palette or with transparency is converted.

    Args:
        source: Path or content of an image file.
        place: What errors call it.
        upright: Turn it as the camera was held, where it says so (EXIF).

    Raises:
        ValueError: If it is corrupt, or its pixels have more than 8 bits, which converting would cut off.

    Warns:
        UserWarning: If there are several in it, such as pages or frames.
    """
    try:
        with Image.open(source, formats=_FORMATS) as image:
            mode = image.mode
            # but for MPO, a photo to which a phone adds its own
            several = image.format != "MPO" and getattr(image, "is_animated", False)
            image = ImageOps.exif_transpose(image) if upright else image
            if "transparency" in image.info and mode == "P":  # else Pillow warns, without a name
                image = image.convert("RGBA")
            pixels = np.asarray(image.convert("RGB")) if mode in _EIGHT_BITS else None
    except Exception as error:  # as above
        raise ValueError(
            f"{place} is corrupt or no image ({error}); copy it again or take it out."
        ) from error
    if pixels is None:
        raise ValueError(f"{place} has pixels of more than 8 bits (mode {mode}); save it as 8-bit RGB.")
    if several:
        warnings.warn(f"{place} holds several pictures, of which the first is taken.", stacklevel=2)
    return pixels


def read_text(path: Path) -> str:
    """The content of a text file.

    Raises:
        OSError: If it cannot be opened.
        ValueError: If it is not of UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no UTF-8 text ({error}); save it as UTF-8, or copy it again.") from error
