"""What lists the frames of a data set: text files, JSON files, numbered files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from secateur.data.frames import Frames, Reader
from secateur.data.reading import is_apart, read_text


def listed_names(source: Path, split: str) -> list[str]:
    """The words in a text file.

    Raises:
        FileNotFoundError: If it is missing or empty.
        ValueError: If it is not of UTF-8, or a name leads out of the folder.
    """
    names = read_text(source).split() if source.exists() else []
    for name in names:
        check_within(source, name)
    if not names:
        raise FileNotFoundError(f"{source} is missing or empty; it must name the {split} frames, one a line.")
    return names


def read_json(source: Path, holds: str = "it must list the frames") -> Any:
    """The content of a JSON file.

    Args:
        source: The file.
        holds: What it is for, in the error when it is missing.

    Raises:
        FileNotFoundError: If it is missing.
        ValueError: If it is no JSON.
    """
    if not source.is_file():
        raise FileNotFoundError(f"{source} is missing; {holds}. Copy the data again.")
    try:
        return json.loads(read_text(source))
    except json.JSONDecodeError as error:
        raise ValueError(f"{source} cannot be read as JSON ({error}); copy it again.") from error


def listed_rows(source: Path, splits: Sequence[str], fields: int) -> dict[str, list[list[str]]]:
    """The frames that a JSON file lists for each split: ``{split: [[path, ...], ...]}``, ``fields`` paths each or more.

    All are under the folder of the data, even if they begin with a slash.

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If it is no such list, or a path leads out of the folder.
    """
    content, found = read_json(source), dict[str, list[list[str]]]()
    for split in splits:
        rows: Any = content.get(split) if isinstance(content, dict) else None
        if not isinstance(rows, list) or not rows or not all(_paths(row, fields) for row in rows):
            raise ValueError(
                f"{source}: {split!r} must list at least one frame, each of {fields} paths; copy the file again."
            )
        found[split] = [[path.lstrip("/") for path in row] for row in rows]  # AdaShare's begin with a slash
        for path in (path for row in found[split] for path in row):
            check_within(source, path)
    return found


def numbered_frames(
    folder: Path, kinds: Mapping[str, str], readers: Mapping[str, Reader], size: tuple[int, int]
) -> Frames:
    """The frames ``{folder}/{kind}/{i}.npy``, counted by those of the image.

    Args:
        folder: Of one split.
        kinds: Field to the folder it lies in.
        readers: As of :class:`~secateur.data.frames.Frames`.
        size: As of :class:`~secateur.data.frames.Frames`.

    Raises:
        FileNotFoundError: If there is no image.
        ValueError: If an image's name is no number.
    """
    source = folder / kinds["image"]
    there = source.glob("*.npy") if source.is_dir() else ()
    names = [path.stem for path in there if not is_apart(path.name)]
    if not names:
        raise FileNotFoundError(f"{source} holds no .npy files; it must hold one a frame, 0.npy and so on.")
    wrong = [name for name in names if not name.isdigit()]
    if wrong:
        raise ValueError(f"{source / wrong[0]}.npy is no frame: its name must be a number; move it away.")
    frames = [
        {field: folder / kind / f"{name}.npy" for field, kind in kinds.items()}
        for name in sorted(names, key=int)
    ]
    return Frames(frames, readers, size, source=source)


def check_within(source: Path, name: str) -> None:
    """Raises ValueError if ``name``, which the file ``source`` lists, leads out of the folder of the data."""
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise ValueError(
            f"{source} lists {name!r}, which leads out of the folder of the data; mend the file."
        )


def _paths(row: Any, fields: int) -> bool:
    return isinstance(row, list) and len(row) >= fields and all(isinstance(path, str) for path in row)
