"""The passes that a search for other sizes may make: each no larger than a few of the example's, and not too many."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from secateur.deployment.export.network import Network
from secateur.deployment.export.trials.cost import cost

Shapes = Mapping[str, Sequence[int | str]]
_TIMES = 4  # what a pass may take of the example's memory and work
_ALL = 64  # passes like the example's that all may take together
_MEMORY = 2**28  # bytes that any pass may take
_WORK = 2**31  # multiplications that any pass may take: some tenths of a second on one core
_MOST = 256  # passes, small ones too
_LARGEST = 2**22  # elements of an input that is tried
_GROWTH = 3  # a pass is believed to take at most this power of twice its inputs, as a share of the example's


class Trials:
    """Of one model, at sizes of the axes that may vary.

    Args:
        network: The model.
        shapes: Of each input; a name in the place of a size that may vary.
    """

    def __init__(self, network: Network, shapes: Shapes) -> None:
        self.network, self.shapes = network, shapes
        self.now: dict[str, int] = {}
        for tensor, shape in zip(network.example, shapes.values(), strict=True):
            for axis, name in enumerate(shape):
                if isinstance(name, str):
                    self.now.setdefault(name, tensor.shape[axis])
        self._elements = self.elements({})
        own = cost(network, self.shape({})) if self.now else None
        self._own = own if own is not None and own.ends else None  # the model does take its example
        self._unit = max(self._own.work if self._own else 0, _WORK // _TIMES)
        self._left = _ALL * self._unit
        self._known: dict[tuple[tuple[int, ...], ...], int | None] = {}

    def shape(self, sizes: Mapping[str, int]) -> tuple[tuple[int, ...], ...]:
        """Of each input at ``sizes``; an axis that is not named keeps that of the example."""
        return tuple(
            tuple(
                sizes.get(name, own) if isinstance(name, str) else own
                for own, name in zip(tensor.shape, shape, strict=True)
            )
            for tensor, shape in zip(self.network.example, self.shapes.values(), strict=True)
        )

    def elements(self, sizes: Mapping[str, int]) -> int:
        """Of all inputs together."""
        return sum(map(math.prod, self.shape(sizes)))

    def fits(self, sizes: Mapping[str, int]) -> bool:
        """Whether a pass at ``sizes`` takes so little memory and time that it may be made."""
        return self._work(sizes) is not None

    def run(self, sizes: Mapping[str, int]) -> tuple[tuple[Tensor, ...], dict[str, Tensor]] | None:
        """Inputs of ``sizes`` and the model's predictions; None if it does not take them, whatever its code raises then.

        Raises:
            ValueError: If all passes together have taken what they may.
        """
        if self._left <= 0:
            raise ValueError(
                f"export: the model's code decides by sizes in more ways than {_ALL} passes can show; an example of smaller inputs lets "
                "more of them be tried"
            )
        self._left -= max(self._work(sizes) or 0, _ALL * self._unit // _MOST)
        tensors = self.resized(sizes)
        try:
            return tensors, self.network.predict(tensors)
        except Exception:  # such as two maps to be added that no longer fit, or an assertion
            return None

    def resized(self, sizes: Mapping[str, int]) -> tuple[Tensor, ...]:
        """The example, repeated or cut to ``sizes``."""
        made: list[Tensor] = []
        for tensor, shape in zip(self.network.example, self.shape(sizes), strict=True):
            for axis, size in enumerate(shape):
                if size != tensor.shape[axis]:
                    tensor = tensor.index_select(axis, torch.arange(size) % tensor.shape[axis])
            made.append(tensor.contiguous())
        return tuple(made)

    def _work(self, sizes: Mapping[str, int]) -> int | None:
        """Of a pass; None if it is too large."""
        shape = self.shape(sizes)
        if shape not in self._known:
            larger = any(work is None and _covers(shape, other) for other, work in self._known.items())
            self._known[shape] = None if larger else self._looked(sizes, shape)
        return self._known[shape]

    def _looked(self, sizes: Mapping[str, int], shape: tuple[tuple[int, ...], ...]) -> int | None:
        elements = self.elements(sizes)
        if elements > max(_LARGEST, _TIMES * self._elements):
            return None
        times = max(elements / max(self._elements, 1), 1.0)
        if self._own is None:
            return int(self._unit * (times / _TIMES) ** 2) if times <= _TIMES else None
        guess, most = int(self._own.work * times**2), (2 * times) ** _GROWTH
        memory, work = max(_MEMORY, _TIMES * self._own.memory), _TIMES * self._unit
        if self._own.memory * most <= memory and self._own.work * most <= work:
            return guess
        found = cost(self.network, shape)
        if found is None:
            return guess if times <= _TIMES else None
        return found.work if found.memory <= memory and found.work <= work else None


def _covers(shape: Sequence[Sequence[int]], other: Sequence[Sequence[int]]) -> bool:
    """Whether no axis is shorter."""
    return all(
        size >= its
        for mine, theirs in zip(shape, other, strict=True)
        for size, its in zip(mine, theirs, strict=True)
    )
