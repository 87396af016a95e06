"""Shards of WebDataset: tar files in which files that stand together and are named alike make one sample."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import IO, Any, cast

from secateur.data.reading import holds_something, is_apart
from secateur.data.streams.shards import Cells, Shards

PICTURE = "image"
"""The column that stands for whichever picture a sample has."""

_PICTURES = ("jpg", "jpeg", "png", "webp", "bmp", "ppm", "tif", "tiff")
_PICKLED = ("pyd", "pickle", "pkl", "pth", "pt")
_NUMBERS = ("cls", "cls2", "index", "inx", "id", "txt", "text")
_META = re.compile(r"__[^/]*__($|/)")  # as WebDataset leaves out
_LARGEST, _LARGEST_TEXT = 2**28, 2**20  # bytes of one file in a shard, and of one that holds text or JSON
_BLOCK, _REST = 512, 2**20  # bytes that all else is a multiple of; most zeros that a tar is filled up with


class TarShards(Shards):
    """Tar files, read from beginning to end; what is not asked for is passed over.

    A column is the ending of a file's name after its first dot (``jpg``, ``cls``, ``rgb.png``), ``json.KEY`` for a value in the
    JSON file of a sample, or ``image`` for whichever picture there is. Nothing in them is run: pickled files are refused.

    Args:
        files: The shards.
        columns: Those to read.

    Raises:
        ImportError: If webdataset is not installed; it says what to install.
        FileNotFoundError: If a shard is missing or empty.
        ValueError: If a column is pickled or no value of a JSON file, or a shard is cut short.
    """

    def __init__(self, files: Sequence[Path], columns: Sequence[str]) -> None:
        super().__init__(files, columns)
        _tariterators()
        for column in self.columns:
            _check_not_pickled(column, "The columns name")
            if _member(column, ()).rpartition(".")[2] == "json" and not column.partition("json.")[2]:
                raise ValueError(
                    f"Column {column} is all that a JSON file holds; name a value in it, such as json.label."
                )
        for file in self.files:
            _check_whole(file)

    def count(self, shard: int) -> int | None:
        """Nobody knows without looking through all of it."""
        return None

    def available(self, shard: int, start: int, most: int) -> int:
        """See :meth:`Shards.available`; the names in the shard are read."""
        return sum(1 for _ in islice(self._samples(shard, None), start, start + most))

    def read(self, shard: int, start: int) -> Iterator[tuple[Cells, str]]:
        """See :meth:`Shards.read`; what is before ``start`` is passed over by its names."""
        file = self.files[shard]
        for sample in self._samples(shard, start):
            place = f"{file}, sample {sample['__key__']}"
            members = {name: content for name, content in sample.items() if not name.startswith("__")}
            for column in self.columns:
                if _member(column, members) not in members:
                    raise ValueError(
                        f"{place} has no {column}, only {', '.join(members)}; name other columns, or write the shard again "
                        "with all files of a sample next to each other."
                    )
            yield {name: content for name, content in members.items() if content is not None}, place

    def cell(self, cells: Cells, column: str, place: str) -> Any:
        """See :meth:`Shards.cell`."""
        member = _member(column, cells)
        content: bytes = cells[member]
        ending = member.rpartition(".")[2]
        if ending not in (*_NUMBERS, "json"):
            return content
        if len(content) > _LARGEST_TEXT:
            raise ValueError(f"{place}: {member} has {len(content)} bytes; a label has not. Write it again.")
        try:
            text = content.decode().strip()
            if ending == "json":
                return json.loads(text)[column.partition("json.")[2]]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(
                f"{place}: {member} holds no {column} ({type(error).__name__}: {str(error)[:80]}); write it again."
            ) from error
        return int(text) if re.fullmatch(r"[+-]?\d{1,18}", text) else text

    def _samples(self, shard: int, start: int | None) -> Iterator[Mapping[str, Any]]:
        """Samples as WebDataset groups them: name's ending to content, from number ``start`` on, all without content if None."""
        file = self.files[shard]
        _check_whole(file)
        self.check_unchanged(shard)
        found = _Members(file, self._wanted if start is not None else lambda name: False, start or 0)
        number = -1
        try:
            for number, sample in enumerate(_tariterators().group_by_keys(iter(found))):
                if start is None or number >= start:
                    yield sample
        except (tarfile.TarError, OSError, ValueError) as error:
            said = str(error.args[0] if error.args else error)
            if said.startswith(str(file)):
                raise ValueError(said) from error
            where = f"after sample {number}" if number >= 0 else "at its beginning"
            raise ValueError(f"{file} is damaged {where} ({said}); copy it again.") from error
        if number < 0 and found.files:
            raise ValueError(
                f"{file} holds {found.files} files but no sample; name them KEY.ENDING, such as 000001.jpg."
            )

    def _wanted(self, ending: str) -> bool:
        return any(_member(column, (ending,)) == ending for column in self.columns)


class _Members:
    """The files in a shard, with the content of those that are wanted; WebDataset puts samples together of them.

    Its own iterator reads every file whatever it claims to be (a sparse one of a few bytes as terabytes of zeros), and takes a
    header that is damaged for the end of the shard.
    """

    def __init__(self, file: Path, wanted: Any, start: int) -> None:
        self.file, self.wanted, self.start, self.files = file, wanted, start, 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        keys = _tariterators().base_plus_ext
        number, last = -1, None
        with self.file.open("rb") as opened, tarfile.open(fileobj=opened, mode="r:") as tar:
            while (member := tar.next()) is not None:
                cast(Any, tar).members = []  # or it remembers all
                if member.isdir() or _META.match(member.name) or is_apart(member.name.rpartition("/")[2]):
                    continue
                self.files += 1
                key, ending = keys(member.name)
                if key is None:
                    continue
                if not member.isreg():  # passed over, its sample would be lost without a word
                    raise ValueError(
                        f"{self.file}, {member.name} is a link or a device, which is not followed; write the shard again with the files "
                        "themselves, such as by tar --dereference --hard-dereference."
                    )
                number, last = number + (key != last), key
                _check_not_pickled(ending, f"{self.file} holds")
                if member.issparse() or member.size > _LARGEST:
                    raise ValueError(
                        f"{self.file}, {member.name} says that it has {member.size} bytes; at most {_LARGEST} are read. Write it again."
                    )
                content = None
                if number >= self.start and self.wanted(ending.lower()):
                    reader = tar.extractfile(member)
                    content = b"" if reader is None else reader.read()
                yield {"fname": member.name, "data": content, "__url__": str(self.file)}
            _check_end(opened, tar.offset, self.file)


def _member(column: str, members: Any) -> str:
    """Which file of a sample holds a column."""
    if column == PICTURE and column not in members:
        return next((name for name in _PICTURES if name in members), column)
    head, json_, _ = column.partition("json.")
    return f"{head}json" if json_ and (not head or head.endswith(".")) else column.lower()


def _check_not_pickled(ending: str, says: str) -> None:
    if ending.lower().rpartition(".")[2] in _PICKLED:
        raise ValueError(
            f"{says} {ending}, which is pickled: reading it would run what it holds. Write numbers as cls or json, pictures as png, and "
            "leave it out."
        )


def _check_whole(file: Path) -> None:
    """Raises FileNotFoundError if a shard is missing or empty, ValueError if it does not end as a tar does."""
    if not holds_something(file):
        raise FileNotFoundError(f"{file} is missing or empty; copy it again.")
    with file.open("rb") as opened:
        size = opened.seek(0, 2)
        opened.seek(max(0, size - _BLOCK))
        if size % _BLOCK or any(opened.read()):
            raise ValueError(f"{file} is cut short, or no tar file: it does not end as one; copy it again.")


def _check_end(opened: IO[bytes], offset: int, file: Path) -> None:
    """Raises ValueError if what was taken for the end of a shard is something else: zeros, and no more."""
    opened.seek(offset)
    rest = opened.read(_REST)
    if len(rest) < _BLOCK or any(rest) or opened.read(1):
        raise ValueError(
            f"{file} goes on after byte {offset}, where it is damaged, or where another was appended to it; write it again, with its "
            "samples in one tar."
        )


def _tariterators() -> ModuleType:
    try:
        from webdataset import tariterators
    except ImportError as error:
        raise ImportError(
            f"Tar shards are read with webdataset: pip install 'secateur[stream]' ({error})."
        ) from error
    return tariterators
