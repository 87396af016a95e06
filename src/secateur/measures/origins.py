"""Which weights a tensor of a forward pass is made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, cast
from weakref import ref

from torch import Tensor, nn

Parts = Mapping[str, int]
"""Names of weights, with the elements that each has in a tensor."""
DATA: Parts = {}
"""Of what the network is given: its input, and what it makes of that."""
_HELD = re.compile(r"parametrizations\.([^.]+)\.original\d*$")
"""What torch calls a parameter that a parametrization holds."""
_PLAIN = (int, float, str, bytes, complex, type(None))


class Origins:
    """Follows parameters through views, casts, masks, norms and whatever else is done to a weight before it multiplies.

    A tensor is made of what the largest of those that it was computed from is made of: a bias added to a map is a map, a weight
    modulated by a vector is a weight. Constants have no part in it.

    Args:
        model: Whose parameters are followed, by their names; those of a parametrization are the weight that it makes.
    """

    def __init__(self, model: nn.Module) -> None:
        self._made: dict[
            int, tuple[ref[Tensor], Parts]
        ] = {}  # by identity, as long as the tensor is that one
        self.layers: set[str] = set()  # names of the weights of layers
        self._names: dict[int, str] = {}
        self._stored: dict[int, list[tuple[int, str]]] = {}
        self._kept: list[
            Any
        ] = []  # memory that a pass gives back is not given out for something else meanwhile
        for name, parameter in model.named_parameters():
            plain = _HELD.sub(r"\1", name)
            self._names[id(parameter)] = plain
            if (memory := _memory(parameter)) is not None:
                self._kept.append(memory)
                self._stored.setdefault(memory._cdata, []).append((int(parameter.storage_offset()), plain))

    def mark(self, value: Any, parts: Parts = DATA) -> None:
        """Says of all tensors in ``value`` what they are made of."""
        for tensor in tensors(value):
            self._made[id(tensor)] = ref(tensor), parts

    def name(self, tensor: Tensor) -> str | None:
        """Of the parameter that ``tensor`` is, or is a view of."""
        if (own := self._names.get(id(tensor))) is not None:
            return own
        memory = _memory(tensor)
        lying = [] if memory is None else self._stored.get(memory._cdata, [])
        before = [(begin, name) for begin, name in lying if begin <= int(tensor.storage_offset())]
        return max(before)[1] if before else None

    def __call__(self, tensor: Tensor) -> Parts | None:
        """What ``tensor`` is made of; None where that is constants alone."""
        seen = self._made.get(id(tensor))
        if seen is not None and seen[0]() is tensor:
            return seen[1]
        name = self.name(tensor)
        return None if name is None else {name: tensor.numel()}

    def follow(self, given: list[Tensor], found: Any, *, joined: bool = False, product: bool = False) -> None:
        """Learns what an operation's results are made of.

        Args:
            given: Its tensors.
            found: Its results.
            joined: They are put beside each other.
            product: They are multiplied: what comes out is a weight only where none of them is data.
        """
        known = [(tensor.numel(), parts) for tensor in given if (parts := self(tensor)) is not None]
        if len(known) == 1 and not product and not joined:
            made = known[0][1]
        elif product and not all(parts for _, parts in known):
            made = DATA
        elif joined and all(parts for _, parts in known):
            made = _together(known)
        else:
            made = max(known, key=partial(self._rank, product), default=(0, None))[1]
        for tensor in tensors(found):
            written = any(tensor is one for one in given)
            for place in (tensor, tensor._base) if written else (tensor,):
                if place is not None and self.name(place) is None:  # parameters stay what they are
                    self._made.pop(id(place), None)
                    if made is not None:
                        self._made[id(place)] = ref(place), made

    def _rank(self, product: bool, one: tuple[int, Parts]) -> tuple[int, ...]:
        """Of several the largest, of these the data, then what a layer has; which comes first of weights that are multiplied."""
        size, parts = one
        own = bool(parts) and self.layers.issuperset(parts)
        return product and own, size, not parts, own


def tensors(value: Any, depth: int = 4) -> list[Tensor]:
    """All tensors in ``value``: in lists, mappings and the attributes of objects."""
    if isinstance(value, Tensor):
        return [value]
    if not depth:
        return []
    if isinstance(value, (list, tuple, set)):
        items = cast(Iterable[Any], value)
    elif isinstance(value, Mapping):
        items = cast(Mapping[Any, Any], value).values()
    elif hasattr(value, "__dict__") and not isinstance(value, (type, nn.Module)):
        items = [vars(value)]
    else:
        return []
    found: list[Tensor] = []
    for item in items:
        if isinstance(item, Tensor):  # as most are
            found.append(item)
        elif not isinstance(item, _PLAIN):
            found += tensors(item, depth - 1)
    return found


def _together(known: list[tuple[int, Parts]]) -> Parts | None:
    found: dict[str, int] = {}
    for size, parts in known:
        for name, elements in parts.items():
            found[name] = found.get(name, 0) + size * elements // max(1, sum(parts.values()))
    return found or None


def _memory(tensor: Tensor) -> Any:
    """What ``tensor`` lies in; None where that is nothing of its own, as of sparse tensors."""
    try:
        return tensor.untyped_storage()
    except (NotImplementedError, RuntimeError, ValueError):
        return None
