"""The layouts that NYU-v2 is passed around in; each to samples of its splits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from secateur.data.arrow import files_by_split, has_files, of_split
from secateur.data.augment import Sample
from secateur.data.fields import (
    Array,
    Decode,
    depth_field,
    image_field,
    label_field,
    metre_field,
    normal_field,
    plain_labels,
)
from secateur.data.frames import Frames, readers
from secateur.data.lists import listed_names, listed_rows, numbered_frames
from secateur.data.nyuv2.archive import ArrayFrames, read_archive
from secateur.data.reading import is_apart
from secateur.data.rows import RowFrames

Layout = Literal["folder", "archive", "adashare", "mtan", "parquet", "less_is_more"]
Splits = dict[str, Dataset[Sample]]


@dataclass(frozen=True)
class Wanted:
    """What to read of NYU-v2.

    Args:
        root: Folder, or archive.
        tasks: Of seg, normal, depth.
        size: ``(height, width)`` in pixels.
        classes: 13 or 40.
    """

    root: Path
    tasks: tuple[str, ...]
    size: tuple[int, int]
    classes: int

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of a sample."""
        return ("image", *self.tasks)


def read_layout(wanted: Wanted, layout: Layout | Literal["auto"]) -> Splits:
    """Samples of ``train`` and ``test``, and of ``val`` where the layout has such a split beside them.

    Raises:
        FileNotFoundError: If root, or what ``layout`` must hold, is missing.
        ValueError: If root could be of several layouts, or ``layout`` has not these classes.
    """
    if layout != "auto" and layout not in _LAYOUTS:
        raise ValueError(f"layout={layout!r}; choose auto or one of {', '.join(get_args(Layout))}.")
    if not wanted.root.exists():
        raise FileNotFoundError(
            f"root={str(wanted.root)!r} does not exist; give the folder that holds the NYU-v2 frames."
        )
    name = _detected(wanted.root) if layout == "auto" else layout
    labelled = _LAYOUTS[name].classes
    if "seg" in wanted.tasks and wanted.classes not in labelled:
        raise ValueError(
            f"classes={wanted.classes}, but layout {name!r} of {wanted.root} is labelled with {labelled[0]} classes; "
            f"give classes={labelled[0]}, or another copy of the data."
        )
    return _LAYOUTS[name].read(wanted)


def _detected(root: Path) -> Layout:
    found: list[Layout] = [name for name, layout in _LAYOUTS.items() if layout.sign(root)]
    if len(found) > 1:
        raise ValueError(f"root={str(root)!r} could be {' or '.join(found)}; say which by layout=.")
    if not found:
        seen = ", ".join(sorted(p.name for p in root.iterdir())[:8]) if root.is_dir() else "a file"
        raise FileNotFoundError(
            f"root={str(root)!r} holds no NYU-v2: there must be train.txt, test.txt, train/ and test/, or one .npz "
            "archive, or nyu_v2_3task.json (AdaShare), or train/image/ (MTAN), or .parquet files (Hugging Face), or "
            f"gt_sets/ (Less is More); found {seen or 'nothing'}."
        )
    return found[0]


def _folder(wanted: Wanted) -> Splits:
    """``{train,test}/{rgb,depth,normal,segN}/{name}``, names in ``{train,test}.txt``."""
    kinds = {"image": "rgb", "seg": f"seg{wanted.classes}"}
    found = readers(wanted.fields, plain_labels(wanted.classes), partial(depth_field, unit=1000))

    def split(name: str) -> Frames:
        source, folder = wanted.root / f"{name}.txt", wanted.root / name
        frames = [
            {
                f: folder / kinds.get(f, f) / f"{frame}.{'jpg' if f == 'image' else 'png'}"
                for f in wanted.fields
            }
            for frame in listed_names(source, name)
        ]
        return Frames(frames, found, wanted.size, source=source)

    return {name: split(name) for name in ("train", "test")}


def _archive(wanted: Wanted) -> Splits:
    """One ``.npz`` with ``{train,test}_{rgb,depth_mm,normal_i8,segN}``."""
    paths = _archives(wanted.root)
    if len(paths) != 1:
        raise ValueError(
            f"root={str(wanted.root)!r} holds {len(paths)} .npz archives{_named(paths)}; layout 'archive' needs one. Give its "
            "own path as root."
        )
    path = paths[0]
    arrays = read_archive(path, wanted.tasks, wanted.classes)
    return {
        split: ArrayFrames(path, split, arrays, wanted.tasks, wanted.size, wanted.classes)
        for split in ("train", "test")
    }


def _adashare(wanted: Wanted) -> Splits:
    """``nyu_v2_3task.json``: ``{"train": [[image, seg, normal, depth], ...], "test": ...}``, paths under root."""
    source = wanted.root / "nyu_v2_3task.json"
    found = readers(wanted.fields, plain_labels(40), metre_field)
    place = {"image": 0, "seg": 1, "normal": 2, "depth": 3}

    def split(rows: list[list[str]]) -> Frames:
        frames = [{f: wanted.root / row[place[f]] for f in wanted.fields} for row in rows]
        return Frames(frames, found, wanted.size, source=source)

    return {name: split(rows) for name, rows in listed_rows(source, ("train", "test"), 4).items()}


def _mtan(wanted: Wanted) -> Splits:
    """``{train,val}/{image,label,depth,normal}/{i}.npy``; val is the test split."""
    found = readers(wanted.fields, plain_labels(13), metre_field)
    folders = {f: {"seg": "label"}.get(f, f) for f in wanted.fields}
    return {
        ours: numbered_frames(wanted.root / theirs, folders, found, wanted.size)
        for ours, theirs in (("train", "train"), ("test", "val"))
    }


def _parquet(wanted: Wanted) -> Splits:
    """Hugging Face's ``tanganke/nyuv2``: columns image, segmentation, depth, normal, channels first; val is the test split."""
    decode = {
        "image": _channels_last(image_field),
        "seg": partial(_cell_of, decode=partial(label_field, table=plain_labels(13))),
        "normal": _channels_last(normal_field),
        "depth": _channels_last(metre_field),
    }
    columns = {f: {"seg": "segmentation"}.get(f, f) for f in wanted.fields}
    files = files_by_split(wanted.root)
    cells = {f: (columns[f], decode[f]) for f in wanted.fields}
    return {
        ours: RowFrames(of_split(files, theirs, wanted.root), cells, wanted.size)
        for ours, theirs in (("train", ("train",)), ("test", ("validation", "test")))
    }


def _less_is_more(wanted: Wanted) -> Splits:
    """``{images,segmentation,depth,normals}/{name}``, names in ``gt_sets/{train,val,test}.txt``; seg 1..40, 0 ignored."""
    found = readers(wanted.fields, plain_labels(40, first=1, ignored=(0, 255)), metre_field)
    kinds = {
        "image": ("images", "jpg"),
        "seg": ("segmentation", "png"),
        "normal": ("normals", "npy"),
        "depth": ("depth", "npy"),
    }
    lists = wanted.root / "gt_sets"
    splits = {"train": "train", "val": "val", "test": "test"}
    if not (lists / "test.txt").exists():
        splits = {"train": "train", "test": "val"}

    def split(name: str) -> Frames:
        source = lists / f"{name}.txt"
        frames = [
            {f: wanted.root / kinds[f][0] / f"{frame}.{kinds[f][1]}" for f in wanted.fields}
            for frame in listed_names(source, name)
        ]
        return Frames(frames, found, wanted.size, source=source)

    return {ours: split(theirs) for ours, theirs in splits.items()}


def _channels_last(decode: Decode) -> Decode:
    """``decode`` for arrays (C, H, W)."""
    return partial(_cell_of, decode=partial(_turned, decode=decode))


def _cell_of(cell: Any, place: str, decode: Decode) -> Tensor:
    if not isinstance(cell, np.ndarray):
        raise ValueError(f"{place}: {str(cell)[:40]!r} is no array; write the file again.")
    return decode(cell, place)


def _turned(array: Array, place: str, decode: Decode) -> Tensor:
    if array.ndim != 3:
        raise ValueError(f"{place}: shape {array.shape}; it must be (channels, height, width).")
    return decode(array.transpose(1, 2, 0), place)


def _named(paths: list[Path]) -> str:
    return (
        f": {', '.join(path.name for path in paths[:3])}{', ...' if len(paths) > 3 else ''}" if paths else ""
    )


def _archives(root: Path) -> list[Path]:
    there = root.glob("*.npz") if root.is_dir() else [root] if root.suffix == ".npz" else []
    return sorted(path for path in there if not is_apart(path.name))


@dataclass(frozen=True)
class _Known:
    """A layout: how to tell it, how to read it, which classes it is labelled with."""

    sign: Callable[[Path], bool]
    read: Callable[[Wanted], Splits]
    classes: tuple[int, ...]


_LAYOUTS: dict[Layout, _Known] = {
    "folder": _Known(lambda root: (root / "train.txt").exists(), _folder, (13, 40)),
    "archive": _Known(lambda root: len(_archives(root)) == 1, _archive, (13, 40)),
    "adashare": _Known(lambda root: (root / "nyu_v2_3task.json").exists(), _adashare, (40,)),
    "mtan": _Known(lambda root: (root / "train" / "image").is_dir(), _mtan, (13,)),
    "parquet": _Known(has_files, _parquet, (13,)),
    "less_is_more": _Known(lambda root: (root / "gt_sets").is_dir(), _less_is_more, (40,)),
}
