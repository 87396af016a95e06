"""What a file says of the machine that wrote it: paths that lead anywhere, left out of what is given away."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PLACE = "PATH"
"""Stands for a path that was left out."""
# Absolute, of a home, of a drive or a share, or out of the working folder; not what follows a word, as in m/s or https://.
_STARTS = r"(?:~[\w.-]*[\\/]|file://|[A-Za-z]:[\\/]|\\\\|(?:\.\.[\\/])+|\$\w+[\\/]|/(?=[\w.~-]))"
_INSIDE = re.compile(rf"(?<![\w:/\\.~-]){_STARTS}[^\s'\"`,;<>()\[\]{{}}|]*")
_WHOLE = re.compile(rf"\s*{_STARTS}.*", re.DOTALL)


def without_paths(value: Any) -> Any:
    """Plain values of JSON or YAML with every path that leads out of the working folder as ``PATH``, in keys too."""
    if isinstance(value, Mapping):
        return {without_paths(key): without_paths(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_paths(item) for item in value]
    return _text(value) if isinstance(value, str) else value


def _text(text: str) -> str:
    if _WHOLE.fullmatch(text):
        return PLACE
    return _INSIDE.sub(PLACE, text)


def command_without_paths(command: str) -> str:
    """A command line of which each word that is or gives such a path says ``PATH``, spaces in it or not."""
    try:
        words = shlex.split(command.replace("\\", "\\\\"))  # which Windows parts folders with
    except ValueError:
        return _text(command)
    made: list[str] = []
    for word in words:
        name, equals, value = word.partition("=")
        made.append(f"{name}={_text(value)}" if equals and name.startswith("-") else _text(word))
    return shlex.join(made)


def named_in(content: bytes) -> str:
    """A path of this machine that a file of any kind holds: its home, or the folder that this is run in; empty if none."""
    for place in {str(Path.home()), str(Path.cwd())}:
        if len(place) > 1 and any(f"{place}{end}".encode() in content for end in '/\\"'):
            return place
    return ""
