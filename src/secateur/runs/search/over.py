"""A search space as somebody writes it: option to range or choices, in YAML on the command line, or in a file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import yaml

from secateur.runs.arguments import spelt_out
from secateur.runs.written import said

Value = str | int | float | bool | None
SHAPES = "a range [0.05, 0.2], a range on a logarithmic scale log 1e-4 1e-2, or choices [1x4, 4x1]"
"""What an option may be given."""


def pairs(over: str | Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Options and what they may be, in order: the words of a list in a tuple, or text such as ``log 1e-4 1e-2``.

    Raises:
        ValueError: If it cannot be understood, names nothing, or is a file that names what would be imported.
    """
    found = list(_flat(_content(over)))
    if isinstance(over, str) and _is_file(over):
        _check_plain(over, found)
    if not found:
        raise ValueError("--over names no option; give such as '{method.density: [0.05, 0.2]}'.")
    return found


def _content(over: str | Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Names and values as they are written, in order; a scalar is its text, so that 2:4 and 1e-4 stay what they are."""
    if isinstance(over, Mapping):
        over = yaml.safe_dump(dict(over), sort_keys=False)
    elif _is_file(over):
        try:
            over = Path(over).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(
                f"--over {over}: {getattr(error, 'strerror', None) or 'it is no text in UTF-8'}; check the path, or give the space itself."
            ) from error
    try:
        node = yaml.compose(over, Loader=yaml.BaseLoader)
        pairs = node.value if isinstance(node, yaml.MappingNode) else None
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(
            f"--over is no YAML ({said(error)}); give such as '{{lr: log 1e-4 1e-2}}'."
        ) from error
    if pairs is None:
        raise ValueError(
            f"--over is {said(over, 80)}; give a mapping of options such as '{{lr: log 1e-4 1e-2}}', or a file."
        )
    return [(str(key.value), _plain(value)) for key, value in pairs]


def _is_file(over: str) -> bool:
    return not over.lstrip().startswith("{") and "\n" not in over and Path(over).suffix in (".yaml", ".yml")


def _check_plain(path: str, content: Sequence[tuple[str, Any]]) -> None:
    """Refuses what a file's word may not have imported; what the command line itself names it trusts."""
    for option, value in content:
        for item in re.findall(r"[^\s\[\]{},:]+", listed(value)):
            if re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)+", item):
                raise ValueError(
                    f"{path}: {option} may be {item}, an import path; name it on the command line, in --over itself."
                )


def _plain(node: yaml.Node, depth: int = 0) -> Any:
    if depth > 8:
        raise ValueError(f"--over nests too deep; give {SHAPES} for each option.")
    if isinstance(node, yaml.MappingNode):
        return [(str(key.value), _plain(value, depth + 1)) for key, value in node.value]
    if isinstance(node, yaml.SequenceNode):
        return tuple(_plain(item, depth + 1) for item in node.value)
    return str(cast(Any, node).value)


def _flat(content: Sequence[tuple[str, Any]], start: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content:
        if isinstance(value, list):
            yield from _flat(cast("list[tuple[str, Any]]", value), f"{start}{key}.")
        else:
            yield spelt_out(f"--{start}{key}")[2:], value


def scalar(item: Any) -> Value:
    """A word as the number, truth or text that it is; a list as its text."""
    if not isinstance(item, str):
        return listed(item)
    if item in ("true", "false"):
        return item == "true"
    if item in ("null", "~"):
        return None
    for kind in (int, float):
        try:
            return kind(item)
        except ValueError:
            continue
    return item


def listed(item: Any) -> str:
    """As it is written."""
    if isinstance(item, tuple):
        return f"[{', '.join(map(listed, cast('tuple[Any, ...]', item)))}]"
    if isinstance(item, list):
        return f"{{{', '.join(f'{k}: {listed(v)}' for k, v in cast('list[tuple[str, Any]]', item))}}}"
    return str(item)


def text(value: Value) -> str:
    """As the command line takes it."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return repr(value) if isinstance(value, float) else str(value)
