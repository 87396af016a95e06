"""What ``get_extra_state`` gave, as a file of weights holds it: tensors as such, the rest as JSON, where a kind that JSON has not is named."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from torch import Tensor

from secateur.storage.outline import is_extra
from secateur.storage.packing import pack

_MAPPINGS: dict[str, type] = {"dict": dict, "OrderedDict": OrderedDict}
_SEQUENCES: dict[str, Callable[[list[Any]], Any]] = {"tuple": tuple, "set": set}


@dataclass
class Written:
    """States in the parts of a file.

    Args:
        tensors: By the name of their state, and of those in a nest by that name and a number.
        plain: What JSON gives back as it is.
        nested: What it gives back with kinds named.
        lost: Names of what only code could give back.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    plain: dict[str, Any] = field(default_factory=dict)
    nested: dict[str, Any] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)


def written(states: Mapping[str, Any], names: set[str]) -> Written:
    """How ``states`` are written; ``names`` of those that are not among them are lost."""
    found = Written(lost=sorted(names - states.keys()))
    for name, state in states.items():
        if isinstance(state, Tensor):
            found.tensors[name] = state
        elif _is_plain(state):
            found.plain[name] = state
        else:
            inside: dict[str, Tensor] = {}
            try:
                told = _in_words(state, name, inside)
                json.dumps(told)  # which refuses numbers of thousands of digits
                pack(inside)
            except (ValueError, RecursionError):
                found.lost.append(name)
            else:
                found.nested[name] = told
                found.tensors |= inside
    return found


def read(manifest: Mapping[str, Any], values: dict[str, Tensor]) -> dict[str, Any]:
    """The states of a file; their tensors are taken out of ``values``.

    Raises:
        ValueError: If one is none that :func:`written` makes.
    """
    tensors = {name: values.pop(name) for name in list(values) if is_extra(name)}
    inside = {name: values.pop(name) for name in list(values) if is_extra(name.rpartition("/")[0])}
    try:
        nested = {name: _meant(state, inside) for name, state in manifest.get("nested", {}).items()}
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"an extra state in its manifest is none ({type(error).__name__})") from error
    if inside:
        raise ValueError(f"{min(inside)} is stored and belongs to no extra state")
    return manifest.get("extra", {}) | tensors | nested


def _is_plain(state: Any) -> bool:
    try:
        return bool(json.loads(json.dumps(state)) == state)
    except (TypeError, ValueError, RecursionError):
        return False


def _in_words(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """A value as JSON; every mapping there is of one entry, from a kind to what it is made of."""
    if value is None or type(value) in (bool, int, str) or (type(value) is float and math.isfinite(value)):
        return value
    if isinstance(value, Tensor):
        tensors[own := f"{name}/{len(tensors)}"] = value
        return {"tensor": own}
    if type(value) is list:
        return [_in_words(item, name, tensors) for item in value]
    if type(value) is float:
        return {"float": repr(value)}
    if type(value) is bytes:
        return {"bytes": value.hex()}
    parts = cast(Any, value)
    for kind, made in _MAPPINGS.items():
        if type(value) is made:
            told = [[_in_words(key, name, tensors), _in_words(v, name, tensors)] for key, v in parts.items()]
            return {kind: told}
    for kind, made in _SEQUENCES.items():
        if type(value) is made:
            items = [_in_words(item, name, tensors) for item in parts]
            return {kind: items if made is tuple else sorted(items, key=json.dumps)}
    raise ValueError(type(value).__name__)


def _meant(told: Any, tensors: dict[str, Tensor]) -> Any:
    """The value; ValueError, KeyError or TypeError if it is none."""
    if isinstance(told, list):
        return [_meant(item, tensors) for item in cast(list[Any], told)]
    if not isinstance(told, dict):
        return told
    ((kind, parts),) = cast(dict[str, Any], told).items()
    if kind == "tensor":
        return tensors.pop(parts)
    if kind == "float":
        return float(parts)
    if kind == "bytes":
        return bytes.fromhex(parts)
    if kind in _MAPPINGS:
        return _MAPPINGS[kind]((_meant(key, tensors), _meant(value, tensors)) for key, value in parts)
    return _SEQUENCES[kind]([_meant(item, tensors) for item in parts])
