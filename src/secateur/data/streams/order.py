"""In which order the samples of shards come: a function of the seed alone, from any place on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import count, islice
from typing import Any, Self

import numpy as np

from secateur.data.streams.shards import Cells, Shards

Raw = tuple[Cells, str]
"""A sample as it was read, and what errors call it."""
_SHARDS, _WINDOW = 2, 3  # keep these draws apart from others of the seed


@dataclass(frozen=True)
class Piece:
    """A shard, or those of its samples from ``start`` to before ``stop``."""

    shard: int
    start: int = 0
    stop: int | None = None


@dataclass(frozen=True)
class Place:
    """Where a sample stands: ``used`` of a window of samples that begins ``offset`` samples after the start of a piece.

    Args:
        epoch: From 0.
        piece: Which in the order of this epoch.
        offset: Samples of that piece before the window.
        window: Its number in the epoch.
        used: Samples of the window that came before, in the order of the window.
    """

    epoch: int = 0
    piece: int = 0
    offset: int = 0
    window: int = 0
    used: int = 0

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """What :func:`~dataclasses.asdict` made of one.

        Raises:
            ValueError: If it is something else.
        """
        whole = all(type(n) is int and 0 <= n < 2**62 for n in values.values())
        if values.keys() != asdict(cls()).keys() or not whole:
            raise ValueError(f"it is of {str(dict(values))[:120]}, which is no place in the data")
        return cls(**values)


@dataclass(frozen=True)
class Order:
    """The samples of pieces, epoch after epoch.

    An epoch reads the pieces one after the other, in an order drawn by (seed, epoch). What arrives is cut into windows of
    ``buffer`` samples, and each is put in an order drawn by (seed, epoch, window); so it takes no more than the start of a
    window to go on from any place, where a buffer that is refilled one by one would hold what was read long before.

    Args:
        shards: Where the samples are.
        pieces: Which.
        seed: Not negative.
        buffer: Samples of a window, which are in memory as they were read; 1 leaves the order as it is.
        shuffle: Whether there is an order of the pieces to draw.
    """

    shards: Shards
    pieces: Sequence[Piece]
    seed: int
    buffer: int
    shuffle: bool

    @property
    def samples(self) -> int | None:
        """Of an epoch, where the shards know."""
        counts = [self._count(piece) for piece in self.pieces]
        return None if None in counts else sum(n for n in counts if n is not None)

    def from_place(self, place: Place, once: bool = False) -> Iterator[tuple[Place, Raw]]:
        """The samples from ``place`` on, each with its place: without end, or to the end of the epoch with ``once``.

        Raises:
            FileNotFoundError: If a shard is missing.
            ValueError: If one is damaged, or there is no sample in any.
        """
        arriving = _Arriving(self._arrivals(place, once))
        window, skipped = _Window(place.window, arriving), place.used
        window.take(self.buffer, arriving)
        while window.raws:
            order = range(len(window.raws))
            if self.buffer > 1:
                rng = np.random.default_rng((self.seed, _WINDOW, window.epoch, window.number))
                order = rng.permutation(len(window.raws)).tolist()
            ahead, each = None, -(-self.buffer // len(order))
            for used, chosen in enumerate(order):
                raw, window.raws[chosen] = window.raws[chosen], None
                if ahead is None:
                    ahead = _Window(window.number + 1 if arriving.epoch == window.epoch else 0, arriving)
                ahead.take(
                    min(each, self.buffer - len(ahead.raws)), arriving
                )  # one in for one out: no pause, and no more memory
                if used >= skipped and raw is not None:
                    yield Place(window.epoch, window.piece, window.offset, window.number, used), raw
            skipped = 0
            assert ahead is not None
            ahead.take(self.buffer - len(ahead.raws), arriving)
            window = ahead

    def check(self, place: Place) -> None:
        """Raises ValueError if no window begins there, or is so long."""
        there = place.piece < len(self.pieces) and place.used <= self.buffer
        if there and place.offset:
            there = bool(
                self._available(self._of_epoch(place.epoch)[place.piece], place.offset + 1) > place.offset
            )
        if not there:
            raise ValueError(f"it is of {place}, and there is no such place in the data")

    def at(self, sample: int) -> Place:
        """The place of a sample by its number since training began.

        Shards that do not know how many samples they have are looked through, as far as that takes.
        """
        epoch, left = divmod(sample, self.samples) if self.samples else (0, sample)
        while True:
            begins, place, seen = left - left % self.buffer, Place(epoch), 0
            for number, piece in enumerate(self._of_epoch(epoch)):
                held = self._available(piece, left + 1 - seen)
                if seen <= begins < seen + held:  # its window begins here
                    place = Place(epoch, number, begins - seen, left // self.buffer, left % self.buffer)
                seen += held
                if seen > left:
                    return place
            if not seen:  # which reading says
                return Place()
            more, left = divmod(left - seen, seen)
            epoch += 1 + more

    def _arrivals(self, place: Place, once: bool) -> Iterator[tuple[int, int, int, Raw]]:
        """Epoch, piece, number in the piece and content of what is read."""
        piece, offset = place.piece, place.offset
        whole = not piece and not offset
        for epoch in count(place.epoch):
            found = False
            order = self._of_epoch(epoch)
            for i in range(piece, len(order)):
                for n, raw in enumerate(self.read(order[i], offset), offset):
                    found = True
                    yield epoch, i, n, raw
                offset = 0
            if whole and not found:
                names = ", ".join(sorted({self.shards.files[one.shard].name for one in order})[:3])
                raise ValueError(
                    f"{self.shards.files[0].parent}: no sample in {len(order)} shards ({names}); copy the data again."
                )
            if once:
                return
            piece, whole = 0, True

    def _of_epoch(self, epoch: int) -> list[Piece]:
        if not self.shuffle:
            return list(self.pieces)
        rng = np.random.default_rng((self.seed, _SHARDS, epoch))
        return [self.pieces[i] for i in rng.permutation(len(self.pieces))]

    def read(self, piece: Piece, offset: int = 0) -> Iterator[Raw]:
        """The samples of a piece from number ``offset`` on, as they come; raises as :meth:`from_place`."""
        start = piece.start + offset
        stop = None if piece.stop is None else max(0, piece.stop - start)
        return islice(self.shards.read(piece.shard, start), stop)

    def _count(self, piece: Piece) -> int | None:
        held = self.shards.count(piece.shard)
        return (
            None
            if held is None
            else max(0, (held if piece.stop is None else min(held, piece.stop)) - piece.start)
        )

    def _available(self, piece: Piece, most: int) -> int:
        most = most if piece.stop is None else min(most, piece.stop - piece.start)
        return self.shards.available(piece.shard, piece.start, most)


class _Arriving:
    """What arrives, the next of it looked at already."""

    def __init__(self, samples: Iterator[tuple[int, int, int, Raw]]) -> None:
        self.samples, self.next = samples, next(samples, None)

    @property
    def epoch(self) -> int:
        return -1 if self.next is None else self.next[0]


class _Window:
    """Samples of one epoch that arrived one after the other."""

    def __init__(self, number: int, arriving: _Arriving) -> None:
        self.epoch, self.piece, self.offset, _ = arriving.next or (-1, 0, 0, None)
        self.number, self.raws = number, list[Raw | None]()

    def take(self, count: int, arriving: _Arriving) -> None:
        """As many more as there are of its epoch, at most ``count``."""
        for _ in range(count):
            if arriving.next is None or arriving.epoch != self.epoch:
                return
            self.raws.append(arriving.next[3])
            arriving.next = next(arriving.samples, None)
