"""A network's buffers as the last good step left them: small ones in one piece of memory, large ones where they can be had cheaply."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from operator import is_
from typing import Any

import torch
from torch import Tensor, nn

from secateur.problem import tensor_parts, write, write_back
from secateur.storage import is_finite

_SMALL = 65_536  # elements; a copy of them takes microseconds
_REAL = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_TOGETHER = (*_REAL, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)


@dataclass(frozen=True)
class _Place:
    """Where a buffer is: its name, the module's dict, and the name there."""

    name: str
    home: dict[str, Tensor | None]
    own: str


class Buffers:
    """Copies of a model's buffers.

    Small ones are copied at every step, because torch does not count what its normalisations write; large ones if it has counted a
    write, and only as many as the network has parameters. Of others there is what nobody has written.

    Args:
        model: Its buffers lie in the host's memory.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._list()

    def suspects(self) -> dict[str, Tensor]:
        """Those that are not finite, of all that may have been written since the last good step and can be put back."""
        self._looked = now = self._now()
        if now is None:  # other places, or other forms: all of them
            found = self._model.named_buffers()
            return {n: b for n, b in found if _size(b) <= self._most and not is_finite(b)}
        suspected: list[int] = []
        for piece in self._pieces:
            piece.take(now)
            suspected += piece.places if piece.is_new() else []
        suspected += [c.place for c in self._copies if c.value is not None and c.is_old(now[c.place])]
        found = ((self._places[i].name, now[i]) for i in suspected)
        return {name: buffer for name, buffer in found if buffer is not None and not is_finite(buffer)}

    def go_on(self) -> None:
        """They are good as they are now."""
        now, looked, self._looked = self._now(), self._looked, None
        if now is None:
            self._list()
            return
        again = looked is None or not all(map(is_, looked, now))
        for piece in self._pieces:
            if again:
                piece.take(now)
            piece.keep()
        for copy in self._copies:
            copy.renew(now[copy.place])
        self._of = now

    def put_back(self) -> list[str]:
        """Leaves all as they were then, but those that are returned."""
        lost: list[str] = []
        known = {(id(place.home), place.own) for place in self._places}
        for module in self._model.modules():
            held = module._buffers  # pyright: ignore[reportPrivateUsage]
            for own in [own for own in _keys([held]) if (id(held), own) not in known]:
                delattr(module, own)
        values = {i: value for piece in self._pieces for i, value in piece.kept()}
        copies = {copy.place: copy for copy in self._copies}
        for i, (place, of) in enumerate(zip(self._places, self._of, strict=True)):
            value = copies[i].value if i in copies else values.get(i)
            if of is not None and value is not None and not _alike(of, value):
                of = value.clone()  # it has another size now
            place.home[place.own] = of
            if of is not None and value is not None:
                write_back(of, value)
            elif i in copies and copies[i].is_old(of):
                lost.append(place.name)
        return lost

    def _list(self) -> None:
        """Finds all that there are, and copies them."""
        named = list(self._model.named_modules())
        self._branches: list[Mapping[str, Any]] = [m._modules for _, m in named]  # pyright: ignore[reportPrivateUsage]
        homes = [(prefix, m._buffers) for prefix, m in named]  # pyright: ignore[reportPrivateUsage]
        self._homes = [home for _, home in homes]
        self._modules, self._names = _values(self._branches), _keys(self._homes)
        self._places = [
            _Place(f"{at}.{own}" if at else own, home, own) for at, home in homes for own in _keys([home])
        ]
        self._of: list[Tensor | None] = _values(self._homes)
        self._looked: list[Tensor | None] | None = None
        together: dict[torch.dtype, list[int]] = {}
        others: list[tuple[int, int, Tensor]] = []
        for i, buffer in enumerate(self._of):
            if buffer is not None and _is_small(buffer):
                together.setdefault(buffer.dtype, []).append(i)
            elif buffer is not None:
                others.append((_size(buffer), i, buffer))
        self._pieces = [_Piece(places, self._of) for places in together.values()]
        room, self._copies = sum(p.numel() for p in self._model.parameters()), list[_Copy]()
        self._most = max(room, _SMALL)
        for size, i, buffer in sorted(others, key=lambda other: other[:2]):
            room -= size if size > _SMALL else 0
            self._copies.append(_Copy(i, buffer, kept=size <= _SMALL or room >= 0))

    def _now(self) -> list[Tensor | None] | None:
        """What is in the places now; None where there are others, or what is there is of another form."""
        modules, now = _values(self._branches), _values(self._homes)
        if len(modules) != len(self._modules) or not all(map(is_, modules, self._modules)):
            return None
        if _keys(self._homes) != self._names:
            return None
        changed = ((one, other) for one, other in zip(self._of, now, strict=True) if one is not other)
        return now if all(_alike(one, other) for one, other in changed) else None


class _Piece:
    """Copies of small buffers of one dtype, now and as they were at the last good step."""

    def __init__(self, places: list[int], buffers: list[Tensor | None]) -> None:
        self.places = places
        found = [b for i in places if (b := buffers[i]) is not None]
        self._flat, self._views = _memory(found)
        self._good, self._good_views = _memory(found)
        self._wild, self._good_wild = (0, 0), (0, 0)  # how many are NaN, and how many infinite
        self.take(buffers)
        self.is_new()
        self.keep()

    def take(self, buffers: list[Tensor | None]) -> None:
        """Copies what they are now."""
        torch._foreach_copy_(self._views, [buffers[i] for i in self.places])  # pyright: ignore

    def is_new(self) -> bool:
        """Whether other ones are NaN or infinite than were."""
        self._wild = (0, 0)
        if self._flat.dtype in _REAL and self._flat.numel() and not _has_norm(self._flat):
            self._wild = int(self._flat.isnan().sum()), int(self._flat.isinf().sum())
        return self._wild != self._good_wild

    def keep(self) -> None:
        """What was taken last is good."""
        self._flat, self._good = self._good, self._flat
        self._views, self._good_views = self._good_views, self._views
        self._good_wild = self._wild

    def kept(self) -> Iterable[tuple[int, Tensor]]:
        """Place and good value of each."""
        return zip(self.places, self._good_views, strict=True)


class _Copy:
    """Of one buffer that is large, or of a kind of its own; ``value`` is None where it is not kept."""

    def __init__(self, place: int, buffer: Tensor, *, kept: bool) -> None:
        self.place, self._of, self._writes = place, buffer, _writes(buffer)
        self.value = buffer.detach().clone() if kept else None

    def is_old(self, buffer: Tensor | None) -> bool:
        """Whether another one is there, or it may have been written."""
        return buffer is not self._of or self._of.is_inference() or _writes(self._of) != self._writes

    def renew(self, buffer: Tensor | None) -> None:
        """Takes its value, if that may be another."""
        if buffer is not None and self.is_old(buffer):
            if self.value is not None:
                write(self.value, buffer)
            self._of, self._writes = buffer, _writes(buffer)


def _memory(like: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """One piece of memory for them all, and the view for each."""
    flat = torch.zeros(sum(t.numel() for t in like), dtype=like[0].dtype)
    pieces = flat.split([t.numel() for t in like])
    return flat, [piece.view(t.shape) for piece, t in zip(pieces, like, strict=True)]


def _has_norm(flat: Tensor) -> bool:
    return math.isfinite(torch.linalg.vector_norm(flat, torch.inf))


def _is_small(buffer: Tensor) -> bool:
    odd = type(buffer) is not Tensor or buffer.is_nested or buffer.layout != torch.strided
    return not odd and buffer.dtype in _TOGETHER and buffer.numel() <= _SMALL


def _size(buffer: Tensor) -> int:
    return sum(part.numel() for part in tensor_parts(buffer))


def _writes(buffer: Tensor) -> int:
    return 0 if buffer.is_inference() else buffer._version


def _alike(one: Tensor | None, other: Tensor | None) -> bool:
    """Whether the one can be given the values of the other."""
    if one is None or other is None:
        return one is other
    kinds = [(type(t), t.dtype, t.layout, t.is_nested) for t in (one, other)]
    forms = [[part.shape for part in tensor_parts(t)] for t in (one, other)]
    return kinds[0] == kinds[1] and forms[0] == forms[1]


def _values(found: Iterable[Mapping[str, Any]]) -> list[Any]:
    return list(chain.from_iterable(mapping.values() for mapping in found))


def _keys(found: Iterable[Mapping[str, Any]]) -> list[str]:
    # what scripted modules have in place of a dict cannot be iterated
    return list(chain.from_iterable(mapping.keys() for mapping in found))
