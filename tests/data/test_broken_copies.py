"""Copies that are broken in one place: the error names the file and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from miniatures import cityscapes as streets
from miniatures import hf_images as hub
from miniatures import nyuv2 as rooms
from miniatures.nyuv2_own import write_archive
from secateur.data import cityscapes
from secateur.data.hf_images import hf_images
from secateur.data.nyuv2 import nyuv2

Break = Callable[[Path], object]


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def holding(*shape: int, value: float = 1, dtype: Any = np.float32) -> Break:
    return lambda path: rooms.save(path, np.full(shape, value, dtype))


def changed(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Break:
    """One array of an archive."""

    def broken(path: Path) -> None:
        with np.load(path) as file:
            arrays = dict(file)
        np.savez(path, **{**arrays, name: change(arrays[name])})

    return broken


def rows(**columns: Any) -> Break:
    """An Arrow file of one row."""

    def broken(path: Path) -> None:
        pa = pytest.importorskip("pyarrow", reason="pyarrow not installed")
        content = hub.table([7], **columns)
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, content.schema) as writer:
            writer.write_table(content)

    return broken


H, W = rooms.H, rooms.W
NUMPY = [
    ("depth/1.npy", truncated, "corrupt"),
    ("depth/1.npy", holding(H, W + 1), f"is {W + 1}x{H} pixels, but the frame's image is {W}x{H}"),
    ("normal/1.npy", holding(H, W), "shape .*normal must be 8-bit RGB, or .height, width, 3."),
]
MTAN = [
    *((f"train/{path}", break_, match) for path, break_, match in NUMPY),
    ("train/image/1.npy", truncated, "corrupt"),
    ("train/label/1.npy", holding(H, W, 3), "shape .*seg must be one channel"),
]
LESS_IS_MORE = [
    *((path.replace("normal/", "normals/"), break_, match) for path, break_, match in NUMPY),
    ("images/1.jpg", Path.unlink, "Copy the folder again"),
    ("images/1.jpg", truncated, "corrupt"),
    ("images/1.jpg", holding(H, W, dtype=np.uint8), "shape .*image must be 8-bit RGB"),
    ("segmentation/1.png", Path.unlink, "Copy the folder again"),
    ("segmentation/1.png", truncated, "corrupt"),
    ("segmentation/1.png", holding(H, W, 3, dtype=np.uint8), "shape .*seg must be one channel"),
    ("segmentation/1.png", holding(6, W, dtype=np.uint8), f"is {W}x6 pixels, but the frame's image is"),
]
STREETS = [
    ("val/image/1.npy", truncated, "corrupt"),
    ("val/label_7/1.npy", truncated, "corrupt"),
    ("val/label_7/1.npy", holding(4, 16), "is 16x4 pixels, but the frame's image is 16x8"),
    ("val/label_7/1.npy", holding(8, 16, 3), "shape .*seg must be one channel"),
    ("val/label_7/1.npy", holding(8, 16, value=7), "label 7; with 7 classes labels are 0 to 6"),
    ("val/label_7/1.npy", holding(8, 16, value=0.5), "float32 that is not whole"),
    ("val/label_7/1.npy", holding(8, 16, value=np.nan), "float32 that is not whole"),
    ("val/depth/1.npy", holding(8, 16, dtype=np.uint16), "uint16; depth must be floats"),
    ("val/image/1.npy", holding(8, 16), "shape .*image must be 8-bit RGB"),
]
ARCHIVE = [
    ("train_rgb", lambda x: x[..., 0], "train frame 0, image: shape .*image must be 8-bit RGB"),
    ("train_rgb", lambda x: x.astype(np.float32), "train frame 0, image: float32, .*image must be 8-bit RGB"),
    ("train_seg13", lambda x: x + 0.5, "train frame 0, seg: float64 that is not whole"),
    ("train_normal_i8", lambda x: x.astype(np.int32), "train frame 0, normal: int32; normal must be"),
    ("train_depth_mm", lambda x: x.astype(np.uint8), "train frame 0, depth: uint8; depth must be 16-bit"),
    ("train_seg13", lambda x: x.astype(str), "train frame 0, seg: <U3; seg must hold labels"),
]
SAVED = [
    (rows(image=[hub.encoded(7, "I;16")]), r"row 0, image has pixels of more than 8 bits \(mode I;16\)"),
    (rows(image=[7]), "row 0, image is no image: it holds no encoded image"),
    (rows(kind=[3]), "row 0, kind: label 3; with 3 classes labels are 0 to 2, or none. Mend the row"),
    (rows(kind=["cat"]), "row 0, kind: label 'cat'; with 3 classes"),
    (rows(legs=[1.5]), r"column 'legs' holds 1.5; it must be a ClassLabel or whole numbers"),
]


def refused(call: Callable[[], object], match: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=match):
        call()


@pytest.mark.parametrize(
    ("make", "path", "break_", "match"),
    [(rooms.mtan, *case) for case in MTAN] + [(rooms.less_is_more, *case) for case in LESS_IS_MORE],
)
def test_nyuv2(tmp_path: Path, make: rooms.Make, path: str, break_: Break, match: str) -> None:
    settings = {**rooms.SETTINGS, **make(tmp_path)}
    break_(tmp_path / path)
    refused(lambda: nyuv2(root=str(tmp_path), **settings), f"{path}.*{match}")


@pytest.mark.parametrize(("name", "change", "match"), ARCHIVE)
def test_an_archive_of_nyuv2(tmp_path: Path, name: str, change: Any, match: str) -> None:
    changed(name, change)(write_archive(tmp_path))
    settings: dict[str, Any] = {"size": (12, 16), "batch": 1, "val_count": 1}
    refused(lambda: nyuv2(root=str(tmp_path), **settings), rf"frames.npz, {match}")


@pytest.mark.parametrize(("path", "break_", "match"), STREETS)
def test_cityscapes_of_mtan(tmp_path: Path, path: str, break_: Break, match: str) -> None:
    streets.mtan(tmp_path)
    break_(tmp_path / path)
    refused(lambda: cityscapes(root=str(tmp_path), **streets.SETTINGS), f"{path}.*{match}")


@pytest.mark.parametrize(("break_", "match"), SAVED)
def test_images_that_datasets_saved(tmp_path: Path, break_: Break, match: str) -> None:
    hub.saved(tmp_path, train=[1, 2, 3], validation=[4], test=[5])
    break_(tmp_path / "test/data-00000-of-00001.arrow")
    refused(lambda: hf_images(root=str(tmp_path), **hub.SETTINGS), match)
