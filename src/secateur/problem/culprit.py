"""The line of the user's code at which something failed."""

from __future__ import annotations

import linecache
import re
import sysconfig
import traceback
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

# A check of torch's may raise deep in what it calls, and the user's line may call NumPy.
_LIBRARIES = ("torch", "sympy", "numpy", "secateur")


class Frame(NamedTuple):
    """A line that was at work when something raised, and the function it is of, by its qualified name where that is known."""

    file: str
    line: int
    function: str

    @property
    def code(self) -> str:
        """The line itself, empty where its file is not there."""
        return linecache.getline(self.file, self.line).strip()


def untraceable(error: BaseException) -> str:
    """Says that the model cannot be traced, at which line of the user's, and what to do.

    The line is the innermost of the traceback that is no library's; where the traceback has none, as when torch raises
    an error of its own afterwards, of the error before it; then of the places that the message names.
    """
    where = place_of(error)
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
    if found := re.match(r"Found <class '(?:.*\.)?(\w+)'> in output, which is not a known type", reason):
        return (
            f"The model cannot be traced: it gives a {found[1]}, of which torch does not know where its tensors are. Let it return a "
            f"dict or a tuple of tensors, or tell once: torch.export.register_dataclass({found[1]})."
        )
    return (
        f"The model cannot be traced{where} ({type(error).__name__}: {reason}). Its forward pass must do the same "
        "operations whatever the values: replace a branch or loop on tensor values by torch.where, `.item()` and "
        "NumPy by torch operations, and check that the example has the shape that the model takes."
    )


def place_of(error: BaseException) -> str:
    """`` at FILE:LINE: CODE`` of the user's line that raised; empty where there is none."""
    own = next((frame for found in frames(error) if (frame := _own(found))), None)
    return f" at {own.file}:{own.line}: {own.code}" if own else ""


def is_own(error: BaseException) -> bool:
    """Whether the user's code raised it by a statement of its own, so that nothing need be said about it."""
    *_, last = traceback.extract_tb(error.__traceback__)
    return not _foreign(last.filename) and (last.line or "").startswith(("raise", "assert"))


@cache
def lies_in(file: str, *packages: str) -> bool:
    """Whether a file belongs to one of the installed ``packages``; a folder of the user's may bear any name."""
    return any(Path(file).resolve().is_relative_to(folder) for name in packages for folder in _folders(name))


@cache
def _folders(package: str) -> tuple[Path, ...]:
    spec = find_spec(package)
    return tuple(Path(folder).resolve() for folder in (spec and spec.submodule_search_locations) or ())


def frames(error: BaseException) -> Iterator[list[Frame]]:
    """Frames, innermost last: of the traceback of the error and of each before it, then those that each message names."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while (
        link is not None
    ):  # by cause alone: the context may be what the user's script was handling all along
        chain.append(link)
        link = link.__cause__
    for link in chain:
        walked = traceback.walk_tb(link.__traceback__)
        yield [Frame(f.f_code.co_filename, line, f.f_code.co_qualname) for f, line in walked]
    for link in chain:
        named = re.findall(r'File "([^"]+)", line (\d+)(?:, in (\S+))?', str(link))
        yield [Frame(file, int(line), function) for file, line, function in named]


def of_python(file: str) -> bool:
    """Whether a file belongs to Python itself, and is not installed beside it."""
    return file.startswith("<") or _in_library(file)


def _own(found: list[Frame]) -> Frame | None:
    return next((frame for frame in reversed(found) if not _foreign(frame.file)), None)


def _foreign(file: str) -> bool:
    return of_python(file) or lies_in(file, *_LIBRARIES)


@cache
def _in_library(file: str) -> bool:
    installed = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}
    path, python = Path(file).resolve(), Path(sysconfig.get_path("stdlib")).resolve()
    return path.is_relative_to(python) and not any(path.is_relative_to(folder) for folder in installed)
