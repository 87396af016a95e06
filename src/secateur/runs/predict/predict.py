"""``predict``: what a network makes of pictures, as pictures and arrays in a folder."""

from __future__ import annotations

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
from secateur.runs.predict.drawing import as_picture, drawn, side_by_side
from secateur.runs.predict.network import Network
from secateur.storage import write_aside


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


def predict(network: Network, inputs: Sequence[Path], out: Path, *, raw: bool = False) -> Seen:
    """Draws what ``network`` predicts of pictures, as the report draws it.

    Of each picture ``NAME``: ``NAME.TASK.png`` for each task, ``NAME.png`` with the picture and all of them side by side, and
    with ``raw`` ``NAME.npz`` with the predictions as they are, one array a task. Every input is read before anything is
    written; each file takes its place whole.

    Args:
        network: Of :func:`network_of`.
        inputs: Pictures, folders of pictures, ``.npy`` and ``.npz`` arrays of pictures.
        out: Folder that is made; it may be there if it is empty.
        raw: Keep the predictions too.

    Raises:
        FileNotFoundError: If there is nothing at a path.
        ValueError: If ``out`` holds something, an input is no picture, a task has no picture and ``raw`` is False, or the
            network does not take pictures of this size.
        OSError: If ``out`` cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} exists and is not an empty folder; choose another --out, or empty it.")
    undrawn = tuple(task for task in network.tasks if task not in network.facts.draw)
    if undrawn and not raw:
        raise ValueError(
            f"{network.place} does not say how {undrawn[0]!r} is drawn; say it, such as --pictures '{{{undrawn[0]}: depth}}', or "
            "keep its arrays with --raw."
        )
    found, skipped = find_photos(inputs)
    labels = _labels(network.tasks)
    names = [name for photos in found for name in photos.names]
    _check_names(names, [label for task, label in labels.items() if task not in undrawn])
    files: list[Path] = []
    watch = Unmoved()
    for photos in found:
        for name, picture in photos.read():
            files += _one(network, picture, out / name, labels, raw, watch)
    if said := dead_said(watch.tasks):
        warnings.warn(f"predict: {said}", DeadTaskWarning, stacklevel=2)
    return Seen(out, len(names), tuple(files), skipped, undrawn, tuple(watch.tasks))


def _one(
    network: Network, picture: Tensor, start: Path, labels: Mapping[str, str], raw: bool, watch: Unmoved
) -> list[Path]:
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
    made = [
        _png(start, f".{labels[task]}", Image.fromarray(pictures[task]))
        for task in network.tasks
        if task in pictures
    ]
    if pictures:
        made.append(_png(start, "", side_by_side({**shown, **pictures})))
    if raw:
        arrays = {labels[task]: predictions[task][0].float().cpu().numpy() for task in network.tasks}
        made.append(_npz(start, arrays))
    return made


def _png(start: Path, end: str, image: Image.Image) -> Path:
    return write_aside(
        start.with_name(f"{start.name}{end}.png"), lambda aside: image.save(aside, format="PNG")
    )


def _npz(start: Path, arrays: dict[str, Any]) -> Path:
    def write(aside: Path) -> None:
        with aside.open("wb") as file:
            np.savez_compressed(file, **arrays)

    return write_aside(start.with_name(f"{start.name}.npz"), write)


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
