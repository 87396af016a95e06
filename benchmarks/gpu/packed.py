"""NYU-v2 at 160x120 in 54 MiB, without loss, for a machine that takes no more, and back.

    python benchmarks/gpu/packed.py pack data/nyuv2_160x120 /tmp/nyuv2_packed
    python benchmarks/gpu/packed.py unpack /tmp/nyuv2_packed data/nyuv2_160x120

Depth and normals are predicted from their neighbours, each pixel as the median of left, above and left + above - corner (LOCO-I, Weinberger
et al. 2000), and what is left goes through LZMA. Photos, 13 classes, and lists are in a tar; the 40 classes are not.
"""

from __future__ import annotations

import argparse
import lzma
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SPLITS, Frames = ("train", "test"), NDArray[np.unsignedinteger]
STORED = {
    "depth": (4, np.uint16),
    "normal": (3, np.uint8),
}  # values are multiples of these; as what they are stored
AS_THEY_ARE, LISTS = ("rgb", "seg13"), ("train.txt", "test.txt", "meta.json")


def pack(root: Path, packed: Path) -> None:
    """Writes ``packed``, a folder."""
    packed.mkdir(parents=True)
    for kind, (step, dtype) in STORED.items():
        frames = np.stack([np.asarray(Image.open(file)) for file in files(root, kind)])
        if (frames % step).any():
            raise ValueError(f"{root}: {kind} has values that are no multiples of {step}.")
        left = residuals((frames // step).astype(dtype))
        planes = left[..., None].view(np.uint8)  # the bytes of a value, one plane behind the other
        stored = lzma.compress(np.moveaxis(planes, -1, 0).tobytes(), preset=9)
        (packed / f"{kind}.xz").write_bytes(
            np.resize([*left.shape, 0], 4).astype(np.int32).tobytes() + stored
        )
    with tarfile.open(packed / "rest.tar.xz", "w:xz") as rest:
        for path in [root / name for name in LISTS] + [
            file for kind in AS_THEY_ARE for file in files(root, kind)
        ]:
            rest.add(path, path.relative_to(root).as_posix())


def unpack(packed: Path, root: Path) -> None:
    """Writes ``root`` with the same pixels; the files of depth and normals are compressed anew."""
    root.mkdir(parents=True)
    with tarfile.open(packed / "rest.tar.xz") as rest:
        rest.extractall(root, filter="data")
    for kind, (step, dtype) in STORED.items():
        data = (packed / f"{kind}.xz").read_bytes()
        shape = [int(size) for size in np.frombuffer(data[:16], np.int32) if size]
        planes = np.frombuffer(lzma.decompress(data[16:]), np.uint8).reshape(-1, *shape)
        left = np.ascontiguousarray(np.moveaxis(planes, 0, -1)).view(dtype)[..., 0]
        paths = [file.parents[1] / kind / f"{file.stem}.png" for file in files(root, "rgb")]
        for folder in {path.parent for path in paths}:
            folder.mkdir()
        for frame, path in zip(predicted_back(left) * dtype(step), paths, strict=True):
            Image.fromarray(frame).save(path, compress_level=1)


def files(root: Path, kind: str) -> list[Path]:
    """Of both splits, in the order in which they are packed."""
    return [file for split in SPLITS for file in sorted((root / split / kind).iterdir())]


def residuals(frames: Frames) -> Frames:
    """(N, H, W[, C]), what the prediction misses, modulo what the dtype holds."""
    frames = np.ascontiguousarray(np.moveaxis(frames, 0, -1))
    left = np.empty_like(frames)
    for y, x, guess in predictions(frames):
        left[y, x] = frames[y, x] - guess
    return np.ascontiguousarray(np.moveaxis(left, -1, 0))


def predicted_back(left: Frames) -> Frames:
    """The frames that :func:`residuals` was given."""
    left = np.ascontiguousarray(np.moveaxis(left, 0, -1))
    frames = np.empty_like(left)
    for y, x, guess in predictions(frames):
        frames[y, x] = left[y, x] + guess
    return np.ascontiguousarray(np.moveaxis(frames, -1, 0))


def predictions(frames: Frames) -> Iterator[tuple[int, int, Frames]]:
    """(H, W, ...), row by row what each pixel should be by those before it, which must be there by then."""
    nothing = np.zeros_like(frames[0, 0])
    for y in range(frames.shape[0]):
        for x in range(frames.shape[1]):
            above = frames[y - 1, x] if y else nothing
            before = frames[y, x - 1] if x else above
            corner = frames[y - 1, x - 1] if x and y else above if y else before
            low, high = np.minimum(above, before), np.maximum(above, before)
            # the median of the three without leaving the dtype: modulo its range the sum is right where it lies between
            guess = np.where(corner >= high, low, np.where(corner <= low, high, above + before - corner))
            yield y, x, guess


def main() -> None:
    """One of both."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("what", choices=["pack", "unpack"])
    options.add_argument("given", type=Path)
    options.add_argument("made", type=Path, help="a folder that is not there yet")
    asked = options.parse_args()
    (pack if asked.what == "pack" else unpack)(asked.given, asked.made)


if __name__ == "__main__":
    main()
