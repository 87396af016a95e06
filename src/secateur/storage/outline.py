"""What a state is made of, without its values: so that one of other shapes, dtypes or entries is told by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor

EXTRA = "_extra_state"  # the name in a state dict of what ``get_extra_state`` gave


def is_extra(name: str) -> bool:
    """Whether the entry of a state dict is what ``get_extra_state`` gave."""
    return name.rpartition(".")[2] == EXTRA


def outline(value: Any, path: str = "") -> dict[str, str]:
    """Path to what is there, in words, for a nest of mappings, sequences, tensors and plain values."""
    if isinstance(value, Mapping) and value:
        items = cast(Mapping[Any, Any], value).items()
        return {p: kind for key, item in items for p, kind in outline(item, _join(path, key)).items()}
    if isinstance(value, (list, tuple)) and any(_is_nest(item) for item in cast(list[Any], value)):
        pairs = enumerate(cast(list[Any], value))
        return {p: kind for i, item in pairs for p, kind in outline(item, _join(path, i)).items()}
    return {path: kind(value)}


def kind(value: Any) -> str:
    """In words: dtype and shape of a tensor, length of a sequence, the type of anything else."""
    if isinstance(value, Tensor):
        odd = (
            ""
            if value.layout == torch.strided and not value.is_meta
            else f" {value.layout} {value.device.type}"
        )
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}{odd}"
    if isinstance(value, (list, tuple, Mapping)):
        return f"{type(value).__name__} of {len(cast(list[Any], value))}"
    return type(value).__name__


def short(said: object, most: int = 200) -> str:
    """What a file or a library says, for an error: on one line, and not more of it than a reader wants."""
    text = " ".join(str(said).split())
    return text if len(text) <= most else f"{text[: most - 4]} ..."


def tensors_of(value: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """The tensors in a nest, by their paths."""
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in cast(Mapping[Any, Any], value).items():
            yield from tensors_of(item, _join(path, key))
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(cast(list[Any], value)):
            yield from tensors_of(item, _join(path, i))


def mismatches(here: Any, found: Any, named: Mapping[str, Tensor], path: str = "") -> Iterator[str]:
    """Where a loaded state cannot take the place of the present one, in words.

    What is empty or None at present may be filled in the file, as a mask is once it is decided; a tensor there that is named
    after a parameter is shaped like it. What ``get_extra_state`` gave may be of any form.

    Args:
        here: The state as it would be saved now.
        found: As it was read.
        named: The model's tensors.
        path: Where in the state this is, for the message.
    """
    if (here is None or isinstance(here, Mapping)) and (found is None or isinstance(found, Mapping)):
        mine, theirs = cast(dict[Any, Any], here or {}), cast(dict[Any, Any], found or {})
        for key in {key for key in mine.keys() & theirs.keys() if not is_extra(str(key))}:
            yield from mismatches(mine[key], theirs[key], named, _join(path, key))
        if mine and found is not None:
            yield from (f"{_join(path, key)} is missing" for key in mine.keys() - theirs.keys())
            yield from (
                f"{_join(path, key)} is there and belongs to nothing" for key in theirs.keys() - mine.keys()
            )
        elif theirs:
            for key, value in theirs.items():
                if key in named and not (isinstance(value, Tensor) and _fits(value, named[key])):
                    yield f"{_join(path, key)} is {kind(value)}, for a parameter of {kind(named[key])}"
    elif isinstance(here, (list, tuple)) and type(here) is type(found):
        for i, (mine, theirs) in enumerate(zip(cast(list[Any], here), cast(list[Any], found), strict=False)):
            yield from mismatches(mine, theirs, named, _join(path, i))
    elif isinstance(here, Tensor) or isinstance(found, Tensor):
        if kind(here) != kind(found):
            yield f"{path} is {kind(found)}, not {kind(here)}"
    elif _sort(here) is not _sort(found) and here is not None and found is not None:
        yield f"{path} is {kind(found)}, not {kind(here)}"


def _fits(value: Tensor, parameter: Tensor) -> bool:
    if value.shape != parameter.shape or value.layout != torch.strided or value.is_meta:
        return False
    return value.dtype in (torch.bool, parameter.dtype)


def _sort(value: Any) -> type:
    """Its type; whole numbers and others are of one sort."""
    return float if isinstance(value, int) and not isinstance(value, bool) else type(value)


def _is_nest(value: Any) -> bool:
    return isinstance(value, (Tensor, Mapping, list, tuple))


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)
