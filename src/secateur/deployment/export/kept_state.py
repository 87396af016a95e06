"""What a model's forward pass changes in it, put back: averages, counters, caches."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

_TORCHS = frozenset(vars(nn.Module()))  # attributes that torch gives each module


class Kept:
    """The buffers and attributes of a model as they are now.

    Args:
        model: Whose forward passes are to leave no trace.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._held = [
            (name, held, [(key, value, _copy(value), _version(value)) for key, value in held.items() if key not in _TORCHS])
            for name, held in _holders(model)
        ]  # fmt: skip

    def changed(self) -> list[str]:
        """The names of tensors that have other values than they had."""
        return [
            f"{name}{key}"
            for name, held, entries in self._held
            for key, value, before, _ in entries
            if isinstance(value, Tensor) and not _equal(held.get(key), before)
        ]

    def restore(self, caches: bool = True) -> None:
        """Puts all back.

        Args:
            caches: Also what was not there at all: new attributes, and new keys of a mapping.
        """
        for _, held, entries in self._held:
            for key in held.keys() - {key for key, *_ in entries} - _TORCHS if caches else ():
                del held[key]
            for key, value, before, version in entries:
                if isinstance(value, Tensor):
                    if (version is None or _version(value) != version) and not _equal(value, before):
                        with torch.no_grad():
                            value.copy_(before)
                elif type(value) is list:
                    value[:] = before
                elif type(value) in (dict, set):
                    if caches:
                        value.clear()
                    value.update(before)
                held[key] = value

    @contextmanager
    def kept(self) -> Generator[None]:
        """Around forward passes: puts all back afterwards, and leaves caches, which a trace would find empty otherwise."""
        try:
            yield
        finally:
            self.restore(caches=False)


def _holders(model: nn.Module) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, module in model.named_modules():
        name = f"{path}." if path else ""
        yield name, vars(module)
        yield name, module._buffers  # pyright: ignore[reportPrivateUsage]


def _copy(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    return value.copy() if type(value) in (dict, list, set) else value


def _version(value: Any) -> int | None:
    """Another after each change in place; None where torch counts none."""
    return value._version if isinstance(value, Tensor) and not value.is_inference() else None  # pyright: ignore[reportPrivateUsage]


def _equal(value: Any, before: Tensor) -> bool:
    return isinstance(value, Tensor) and (value.shape, value.dtype) == (before.shape, before.dtype) and bool(
        ((value == before) | (value.isnan() & before.isnan())).all()
    )  # fmt: skip
