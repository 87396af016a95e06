"""``predict``: what a network makes of pictures, as pictures and arrays in a folder."""

from __future__ import annotations

import io
import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from secateur.data.photos import find_photos, normalised
from secateur.measures import DeadTaskWarning, Unmoved, dead_said, varied
from secateur.problem import preserved_rng
from secateur.runs.predict.drawing import as_picture, drawn, side_by_side
from secateur.runs.predict.network import Network
from secateur.storage import is_leftover, write_aside


@dataclass(frozen=True)
class Seen:
    """What :func:`predict` wrote.

    Args:
        out: The folder.
        pictures: How many pictures were looked at.
        files: What was written, in order.
        skipped: Files of the folders given that are neither pictures nor arrays.
        undrawn: Tasks of which no picture is known; their arrays are kept.
        dead: Tasks whose prediction is the same whatever the picture; of one picture, whatever noise is added to it.
    """

    out: Path
    pictures: int
    files: tuple[Path, ...]
    skipped: int
    undrawn: tuple[str, ...]
    dead: tuple[str, ...] = ()


@preserved_rng()
def predict(network: Network, inputs: Sequence[Path], out: Path, *, raw: bool = False) -> Seen:
    """Draws what ``network`` predicts of pictures, as the report draws it.

    Of each picture ``NAME``: ``NAME.TASK.png`` for each task, ``NAME.png`` with the picture and all of them side by side, and
    with ``raw`` ``NAME.npz`` with the predictions as they are, one array a task. Every input is read before anything is
    written; each file takes its place whole. A call that was stopped is ended by the same call: what it wrote stays where it is
    what would be written, in the same order.

    Args:
        network: Of :func:`network_of`.
        inputs: Pictures, folders of pictures, ``.npy`` and ``.npz`` arrays of pictures.
        out: Folder that is made; it may be there if it is empty, or holds the first files of this very call.
        raw: Keep the predictions too.

    Raises:
        FileNotFoundError: If there is nothing at a path.
        ValueError: If ``out`` holds something, an input is no picture, a task has no picture and ``raw`` is False, or the
            network does not take pictures of this size.
        OSError: If ``out`` cannot be written.
    """
    there = _there(out)
    if there and out.resolve() in [path.resolve() for path in inputs]:  # what is there are the inputs
        raise _other(out)
    undrawn = tuple(task for task in network.tasks if task not in network.facts.draw)
    if undrawn and not raw:
        raise ValueError(
            f"{network.place} does not say how {undrawn[0]!r} is drawn; say it, such as --pictures '{{{undrawn[0]}: depth}}', or "
            "keep its arrays with --raw."
        )
    found, skipped = find_photos(inputs, there)
    labels = _labels(network.tasks)
    names = [name for photos in found for name in photos.names]
    drawn_tasks = [label for task, label in labels.items() if task not in undrawn]
    files = [out / name for start in names for name in _files(start, drawn_tasks, raw)]
    _check_names(names, drawn_tasks)
    if there != set(files[: len(there)]):
        raise _other(out)
    watch = Unmoved()
    for photos in found:
        for name, picture in photos.read():
            _one(network, picture, out / name, labels, raw, watch)
    if said := dead_said(watch.tasks):
        warnings.warn(f"predict: {said}", DeadTaskWarning, stacklevel=3)  # past what keeps the random state
    return Seen(out, len(names), tuple(files), skipped, undrawn, tuple(watch.tasks))


def _there(out: Path) -> set[Path]:
    """The files in ``out``; what a stopped write left of one goes when that is written."""
    if not out.exists():
        return set()
    if not out.is_dir():
        raise _other(out)
    return {path for path in out.rglob("*") if not path.is_dir() and not is_leftover(path)}


def _other(out: Path) -> ValueError:
    return ValueError(
        f"{out} exists and is not an empty folder, nor what this command begins with; choose another --out, or empty it."
    )


def _files(start: str, labels: Sequence[str], raw: bool) -> list[str]:
    """What is written of one picture, in order."""
    pictures = [f"{start}.{label}.png" for label in labels] + ([f"{start}.png"] if labels else [])
    return pictures + ([f"{start}.npz"] if raw else [])


def _one(
    network: Network, picture: Tensor, start: Path, labels: Mapping[str, str], raw: bool, watch: Unmoved
) -> None:
    facts, size = network.facts, network.size
    x = normalised(picture, size, facts.mean, facts.std)
    predictions = network.call(x[None])
    if watch.empty:  # of a single picture it would not be seen
        for other in islice(varied(x[None]), 1, None):
            assert isinstance(other, Tensor)
            watch.see(other, network.call(other))
    watch.see(x[None], predictions)
    shown = {"input": as_picture(normalised(picture, size, (0.0,) * 3, (1.0,) * 3))}
    pictures = {
        task: drawn(task, predictions[task], facts.draw[task], size)
        for task in network.tasks
        if task in facts.draw
    }
    for task in (task for task in network.tasks if task in pictures):
        _keep(start, f".{labels[task]}.png", _png(Image.fromarray(pictures[task])))
    if pictures:
        _keep(start, ".png", _png(side_by_side({**shown, **pictures})))
    if raw:
        arrays: dict[str, Any] = {
            labels[task]: predictions[task][0].float().cpu().numpy() for task in network.tasks
        }
        with io.BytesIO() as file:
            np.savez_compressed(file, **arrays)
            _keep(start, ".npz", file.getvalue())


def _png(image: Image.Image) -> bytes:
    with io.BytesIO() as file:
        image.save(file, format="PNG")
        return file.getvalue()


def _keep(start: Path, end: str, content: bytes) -> None:
    """Writes a file, unless it is there.

    Raises:
        ValueError: If another is.
    """
    path = start.with_name(f"{start.name}{end}")
    if not path.exists():
        write_aside(path, lambda aside: aside.write_bytes(content))
    elif path.read_bytes() != content:
        raise ValueError(
            f"{path} is of another network or other inputs; choose another --out, or empty that folder."
        )


def _labels(tasks: Sequence[str]) -> dict[str, str]:
    """Task to what files and arrays are named after; a file's word leads into no other folder."""
    plain = {task: re.sub(r"[^\w-]", "_", task) or "_" for task in tasks}
    count = Counter(name.casefold() for name in plain.values())
    return {
        task: name if count[name.casefold()] == 1 else f"{name}_{index}"
        for index, (task, name) in enumerate(plain.items())
    }


def _check_names(names: Sequence[str], labels: Sequence[str]) -> None:
    """Raises ValueError if the whole of one picture would lie where a task of another does."""
    wholes = {name.casefold() for name in names}
    for name in names:
        for label in labels:
            if f"{name}.{label}".casefold() in wholes:
                raise ValueError(
                    f"The picture {name}.{label} would be written where the {label} of {name} is; take them one by one."
                )
