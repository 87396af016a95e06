"""Parquet and Arrow files as the Hugging Face hub and ``datasets`` write them: opening them, and what their cells hold."""

from __future__ import annotations

import importlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from secateur.data.fields import Array
from secateur.data.reading import check_leads, holds_something, is_apart, once, read_text, rgb, walk
from secateur.data.splitting import by_split, split_of

_CODE = {"site-packages", "dist-packages", "node_modules"}
_DEEPEST, _MOST_FOLDERS = 5, 2000  # more than any copy of the hub or of save_to_disk has


def open_file(path: Path, columns: Sequence[str] = ()) -> Any:
    """A ``pyarrow.parquet.ParquetFile``, or for any other name ``columns`` of an Arrow stream, memory-mapped: a ``pyarrow.Table``.

    Arrow takes the places in a stream that its rows name as they are, and a damaged one would end the process; so those of
    ``columns`` are checked here.

    Raises:
        ImportError: If pyarrow is not installed; it says what to install.
        FileNotFoundError: If the file is missing or empty.
        ValueError: If it is corrupt, or lacks one of ``columns``; names those that it has.
    """
    if not holds_something(path):
        raise FileNotFoundError(f"{path} is missing or empty; copy it again.")
    arrow, parquet = _pyarrow("pyarrow"), path.suffix == ".parquet"
    try:
        if parquet:
            opened = _pyarrow("pyarrow.parquet").ParquetFile(path, memory_map=True, pre_buffer=False)
        else:
            opened = _pyarrow("pyarrow.ipc").open_stream(arrow.memory_map(str(path))).read_all()
        names = list(schema_of(opened).names)
        lacking = [column for column in columns if column not in names]
        if not parquet and not lacking:
            opened = opened.select(columns)
            opened.validate(full=True)
    except damage() as error:
        raise ValueError(f"{path} is corrupt ({error}); copy it again.") from error
    if lacking:
        raise ValueError(
            f"{path} lacks the columns {lacking}; it has {names}. Name other columns, or other data."
        )
    return opened


def damage() -> tuple[type[Exception], ...]:
    """What pyarrow raises for a file that is damaged, or that it cannot read."""
    return OSError, ValueError, KeyError, _pyarrow("pyarrow").ArrowException


def schema_of(opened: Any) -> Any:
    """The columns of a file that :func:`open_file` has opened."""
    return opened.schema_arrow if hasattr(opened, "schema_arrow") else opened.schema


def values(files: Sequence[Path], column: str) -> list[Any]:
    """All values of one column, file after file.

    Raises:
        FileNotFoundError: If a file is missing or empty.
        ValueError: If a file is corrupt or lacks the column; names it.
    """
    found: list[Any] = []
    for path in files:
        opened = open_file(path, [column])
        try:
            table = opened.read([column], use_threads=False) if hasattr(opened, "schema_arrow") else opened
            found += table.column(column).to_pylist()
        except damage() as error:
            raise ValueError(f"{path} is corrupt in column {column!r} ({error}); copy it again.") from error
    return found


def class_names(file: Path) -> dict[str, tuple[str, ...]]:
    """The columns of Hugging Face's type ``ClassLabel``, with the names of their classes.

    Raises:
        ValueError: If the file's metadata, or those of ``dataset_info.json`` beside it, are damaged.
    """
    stored: Any = (schema_of(open_file(file)).metadata or {}).get(b"huggingface")
    beside = file.parent / "dataset_info.json"
    try:
        about = (
            json.loads(stored)["info"] if stored else json.loads(read_text(beside)) if beside.exists() else {}
        )
        kinds = dict[str, Any](about.get("features") or {})
        return {name: _names(kind) for name, kind in kinds.items() if _names(kind)}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{file}: its Hugging Face metadata are damaged ({error}); write it again."
        ) from error


def _names(kind: Any) -> tuple[str, ...]:
    """Those of the classes, where ``kind`` is ClassLabel."""
    names = kind.get("names") if isinstance(kind, dict) and kind.get("_type") == "ClassLabel" else None
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise ValueError(f"names={str(names)[:40]} of a ClassLabel")
    return tuple(names or ())


def files_by_split(root: Path) -> dict[str, list[Path]]:
    """The Parquet files under ``root``, or what ``save_to_disk`` wrote there, by the name of their split.

    A file belongs to the split that :func:`~secateur.data.splitting.split_of` reads in its name or folders. Where that tells
    none of them, all are ``train``.

    Raises:
        FileNotFoundError: If there are none, or a link that is called as a split leads nowhere.
        ValueError: As :func:`~secateur.data.splitting.by_split`.
    """
    there = beneath(root, _is_rows)
    saved = [path for path in there if path.name == "state.json"]
    if not there:
        raise FileNotFoundError(
            f"root={str(root)!r} holds neither .parquet files nor what datasets.save_to_disk wrote, as far as is looked: "
            f"{_DEEPEST} folders deep, not in hidden ones; give the folder of one."
        )
    found = by_split(saved or there, root)
    return {
        split: [f for p in some for f in (_data_files(p) if saved else [p])] for split, some in found.items()
    }


def has_files(root: Path) -> bool:
    """Whether :func:`files_by_split` would find any."""
    return bool(beneath(root, _is_rows))


def _is_rows(name: str) -> bool:
    return name == "state.json" or name.endswith(".parquet")


def beneath(root: Path, wanted: Callable[[str], bool]) -> list[Path]:
    """Files whose name is wanted, without looking through all of a home folder that was given by mistake.

    Links to folders are followed; of the paths to one file that tell one split one is taken. What is hidden, environments and
    what lies deeper than any such copy are left out; of too many folders nothing is taken.

    Raises:
        FileNotFoundError: If a link that is called as a split leads nowhere.
    """
    found: list[Path] = []
    for number, (here, inside, files) in enumerate(walk(root)):
        if number >= _MOST_FOLDERS:
            return []
        files = [name for name in files if not is_apart(name)]
        for name in files:
            if split_of(Path(name)):
                check_leads(here / name, wanted(name))
        found += [here / name for name in files if wanted(name)]
        deep = len(here.relative_to(root).parts) >= _DEEPEST
        inside[:] = [] if deep else [name for name in inside if not _is_apart(here / name)]
    return once(found, root, split_of)


def _is_apart(folder: Path) -> bool:
    odd = is_apart(folder.name) or folder.name.startswith("__") or folder.name in _CODE
    return odd or (folder / "pyvenv.cfg").exists()


def of_split(files: Mapping[str, list[Path]], names: Sequence[str], root: Path) -> list[Path]:
    """The files of the first split of ``names`` that there is.

    Raises:
        FileNotFoundError: If there is none of them.
    """
    for name in names:
        if name in files:
            return files[name]
    raise FileNotFoundError(
        f"root={str(root)!r} holds no split {' or '.join(names)}, only {', '.join(files)}; copy the rest too."
    )


def decoded_image(content: Any, place: str) -> Array:
    """The picture in a cell, see :func:`encoded_image`, as 8-bit RGB (H, W, 3), upright as the camera was held.

    Raises:
        ValueError: If there is none, or it is corrupt.
    """
    return rgb(io.BytesIO(encoded_image(content, place)), place, upright=True)


def encoded_image(content: Any, place: str) -> bytes:
    """The content of the image file in a cell of Hugging Face's type ``Image``, or that is one itself.

    A path or address in its place is not followed: the data may come from anybody.

    Raises:
        ValueError: If there is none.
    """
    path = content.get("path") if isinstance(content, dict) else None
    content = content.get("bytes") if isinstance(content, dict) else content
    if content is None and path:
        raise ValueError(
            f"{place} is no image: it holds no encoded image, only the path {str(path)[:80]!r}; write the data where "
            "the images lie by datasets' save_to_disk, which puts them in."
        )
    if not isinstance(content, bytes):
        raise ValueError(f"{place} is no image: it holds no encoded image; drop the row or copy again.")
    return content


def _data_files(state: Path) -> list[Path]:
    try:
        names = [item["filename"] for item in json.loads(read_text(state))["_data_files"]]
        if any(Path(name).name != name for name in names):
            raise ValueError("it names files of other folders")
        return [state.parent / name for name in names]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{state} is damaged ({error}); save the data set again.") from error


def cell(column: Any, index: int) -> Any:
    """One value of a column: a number, text, bytes or a dict; nested lists become an array.

    Raises:
        ValueError: If nested lists are of different lengths, and so no array.
    """
    value = column[index]
    value = getattr(value, "value", value) if hasattr(value.type, "storage_type") else value  # an extension
    inner = getattr(value, "values", None)
    if inner is None or not hasattr(value.type, "value_type"):
        return value.as_py()
    lengths = _pyarrow("pyarrow.compute").list_value_length
    shape = [len(inner)]
    while hasattr(inner.type, "value_type"):
        found = set(lengths(inner).to_pylist())
        if len(found) != 1:
            raise ValueError("its lists are of different lengths")
        shape.append(found.pop())
        inner = inner.flatten()
    return inner.to_numpy(zero_copy_only=False).reshape(shape).copy()  # the file's own memory is read-only


def _pyarrow(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"Parquet and Arrow files are read with pyarrow: pip install 'secateur[parquet]' ({error})."
        ) from error
