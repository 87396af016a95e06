"""What a failure says on the command line: the error, and where it is of the user's own code, what they named and the line."""

from __future__ import annotations

import os
import re
import sysconfig
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from secateur.problem import Frame, RemediedError, frames, lies_in, of_python
from secateur.runs import ROOMS, given, spelt_out, train_parser, trusted

_SAID = (ValueError, OSError, FloatingPointError, ImportError, RuntimeError)  # whose message is for the user
_MOST = 300  # characters of another's message
_CODE = 100  # characters of a line of code
_ARGUMENT = re.compile(
    r"(?<![\w.=-])(?P<name>[a-z_]+)=(?P<value>(?=[^\s.,;)]))?"
)  # of Python, as errors show it
_PAIR = re.compile(r"\((\d+), (\d+)\)")
_COMPILED = (".pyx", ".pxd", ".pxi")  # whose frames name their sources as they lay where they were compiled
_WORKER = "Original Traceback (most recent call last)"  # of a process that loads data, in its error's text


def failed(error: Exception, argv: Sequence[str]) -> str | None:
    """One line for an error that a verb raised; None where it is neither for the user nor of their code.

    Args:
        error: What was raised.
        argv: The command line, the verb first.
    """
    names = list(_named(argv))
    own = next((found for walked in _walked(error) if (found := _own(walked, names))), [])
    if not own:
        return _spoken(error, argv) if isinstance(error, _SAID) else None
    owners, place = _owners(own, names), _place(own[-1])
    if not isinstance(error, _SAID) or not _is_ours(error):
        return ": ".join(filter(None, [owners, f"{_text(error)}, at {place}"]))
    said = _spoken(error, argv, named=False)  # whose arguments are those of a call in that code
    if f"{own[-1].file}:{own[-1].line}" in said:
        return said
    said = said if said.endswith((".", "?", "!")) else f"{said}."
    return f"{said} {f'Of {owners}, at' if owners and owners not in said else 'At'} {place}"


def _spoken(error: Exception, argv: Sequence[str], named: bool = True) -> str:
    """The error's text with what it says of Python's arguments in the words of this command line."""
    if not _is_ours(error):
        return str(error)
    text = error.on_command_line if isinstance(error, RemediedError) else str(error)
    text = re.sub(
        r"(^)?Problem\.(train|val|test)\b",
        lambda m: f"{'Th' if m[1] is not None else 'th'}e data's {m[2]}",
        text,
    )
    text = re.sub(r"^Problem: (?=train|val|test|tasks)", "Data: ", text)
    kinds = [
        kind
        for kind, room in ROOMS.items()
        for walked in frames(error)
        for f in walked
        if _is_of(f.file, room)
    ]
    text = text.replace(" None for ", " null for ")
    known = _options(argv) if named and _ARGUMENT.search(text) else []

    def option(found: re.Match[str]) -> str:
        start, name = text[: found.start()], found["name"]
        within = start.rfind("(") if start.count("(") > start.count(")") else -1
        if within > 0 and re.match(r"\w", start[within - 1]):  # an argument of a call that is shown
            return found[0]
        own = next((o for o in (*(f"--{kind}.{name}" for kind in kinds), f"--{name}") if o in known), None)
        return found[0] if own is None else f"{own}{'' if found['value'] is None else ' '}"

    made = _ARGUMENT.sub(option, text)
    return _PAIR.sub(r"\1x\2", made) if "--size" in made and "--size" not in text else made


def _is_of(file: str, room: str) -> bool:
    return lies_in(file, "secateur") and f"{os.sep}secateur{os.sep}{room}{os.sep}" in file


def _options(argv: Sequence[str]) -> list[str]:
    """The options of this command line, as they are written."""
    try:
        if argv[0] == "train":
            return train_parser(argv[1:], exits=False).options
        parser = import_module(f"secateur.cli.{argv[0]}").parser
        chosen = given([spelt_out(word) for word in argv], "--data.name")
        made = parser(chosen[-1]) if chosen and argv[0] == "doctor" else parser()
    except (ValueError, OSError, ImportError):
        return []
    return made.options


def _walked(error: BaseException) -> Iterator[list[Frame]]:
    """As :func:`frames`, and the place that an error of Python's parser names."""
    yield from frames(error)
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, SyntaxError) and link.filename:
            yield [Frame(link.filename, link.lineno or 0, "")]
        link = link.__cause__


def _own(walked: Sequence[Frame], names: Sequence[tuple[str, str]]) -> list[Frame]:
    """The frames of the user's code: of no library, unless this command line names it."""
    places = [place for _, name in names for place in _files(name)]
    return [frame for frame in walked if not _is_library(frame.file) or _lies_at(frame.file, places)]


def _is_library(file: str) -> bool:
    installed = (sysconfig.get_path(name) for name in ("purelib", "platlib"))
    elsewhere = file.endswith(_COMPILED) and not Path(file).is_file()
    return (
        elsewhere
        or of_python(file)
        or lies_in(file, "secateur")
        or _lies_at(file, [Path(p) for p in installed])
    )


def _lies_at(file: str, places: Sequence[Path]) -> bool:
    return any(Path(file).resolve().is_relative_to(place.resolve()) for place in places)


def _files(name: str) -> list[Path]:
    """Where the package or module lies that an import path begins with; nothing is imported."""
    try:
        spec = find_spec(name.partition(".")[0])
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    return [Path(place) for place in spec.submodule_search_locations or filter(None, [spec.origin])]


def _named(argv: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What the command line names of the user's: the words that name it, and the import path."""
    try:
        trust = trusted(argv[1:])
    except ValueError:
        return
    for kind, name in sorted(trust.named):
        if "." in name:
            yield f"--{'callbacks' if kind == 'callback' else kind} {name}", name
    if argv[:1] == ["prune"]:
        yield from ((f"prune {word}", word) for word in argv[1:2] if _is_import_path(word))
    yield from ((f"--trust {name}", name) for name in sorted(trust.packages))


def _is_import_path(word: str) -> bool:
    return "." in word and all(map(str.isidentifier, word.split(".")))


def _owners(own: Sequence[Frame], names: Sequence[tuple[str, str]]) -> str:
    """The words of the command line that name the code at work: the very function or class, or else all that lies there."""
    files = {said: _files(name) for said, name in names}
    there = {said: name for said, name in names if any(_lies_at(frame.file, files[said]) for frame in own)}
    called = {frame.function.partition(".")[0] for frame in own}
    exactly = [said for said, name in there.items() if name.rpartition(".")[2] in called]
    return " or ".join(exactly or there)


def _is_ours(error: BaseException) -> bool:
    """Whether our code raised it itself, which then is a sentence for the user."""
    return lies_in(next(frames(error))[-1].file, "secateur")


def _place(frame: Frame) -> str:
    relative = os.path.relpath(frame.file)
    place = f"{frame.file if relative.startswith('..') else relative}:{frame.line}"
    code = frame.code if len(frame.code) <= _CODE else f"{frame.code[: _CODE - 4]} ..."
    return f"{place}: {code}" if code else place


def _text(error: BaseException) -> str:
    """The class and what it says, in one line; of a process that loads data, the last line that it wrote."""
    said, name = str(error).strip(), type(error).__name__
    if _WORKER in said:
        return " ".join(said.splitlines()[-1].split())[:_MOST]
    said = " ".join(said.split())
    return f"{name}: {said if len(said) <= _MOST else f'{said[: _MOST - 4]} ...'}" if said else name
