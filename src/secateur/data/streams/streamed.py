"""Samples that are read from shards in order, decoded when their turn comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from torch.utils.data import IterableDataset

from secateur.data.augment import Sample
from secateur.data.packing import rounded
from secateur.data.rows import DecodeCell, framed
from secateur.data.streams.order import Order, Piece, Place, Raw
from secateur.data.streams.shards import Shards
from secateur.problem import check_count


class Streamed(IterableDataset[Sample]):
    """Samples of shards, of which nobody need know how many there are.

    Args:
        shards: Where they are.
        columns: Field of a sample, ``image`` among them, to its column and how to decode a cell.
        size: ``(height, width)`` to resize to, pixels.
        pieces: Those of the shards to read; all if None.
        combine: What is done to a sample before it is resized, such as masking one field by another.
        buffer: Samples that are shuffled together in training, held in memory as they were read.

    Raises:
        ValueError: If ``buffer`` is below 1.
    """

    def __init__(
        self,
        shards: Shards,
        columns: Mapping[str, tuple[str, DecodeCell]],
        size: tuple[int, int],
        *,
        pieces: Sequence[Piece] | None = None,
        combine: Callable[[Sample], Sample] | None = None,
        buffer: int = 1000,
    ) -> None:
        check_count("buffer=", buffer, remedy="give the samples that are shuffled together, at least 1")
        self.shards, self.columns, self.size = shards, dict(columns), size
        self.pieces = tuple(map(Piece, range(len(shards.files))) if pieces is None else pieces)
        self.combine, self.buffer = combine, buffer

    def of(self, pieces: Sequence[Piece]) -> Streamed:
        """The same, of other pieces of these shards."""
        return Streamed(
            self.shards, self.columns, self.size, pieces=pieces, combine=self.combine, buffer=self.buffer
        )

    def __iter__(self) -> Iterator[Sample]:
        """Each once, in the order of the shards.

        Raises:
            FileNotFoundError: If a shard is missing.
            ValueError: If a shard or a sample is damaged; names it.
        """
        return (self.decoded(raw) for _, raw in self.order().from_place(Place(), once=True))

    def check(self) -> None:
        """Reads the first sample, for what would be wrong with all: of data to validate or test on, after a whole training.

        Raises:
            FileNotFoundError: If a shard is missing.
            ValueError: If there is no sample, or the first is damaged; names it.
        """
        next(iter(self))

    @property
    def fingerprint(self) -> str:
        """The same for the same samples in the same shards, wherever they lie."""
        held = " ".join(f"{p.shard}:{p.start}:{p.stop}" for p in self.pieces if p.start or p.stop is not None)
        return f"{self.shards.fingerprint} {len(self.pieces)} {held}".strip()

    def order(self, seed: int | None = None) -> Order:
        """In which order they come: that of the shards, or one drawn by a seed."""
        if seed is None:
            return Order(self.shards, self.pieces, 0, 1, False)
        return Order(self.shards, self.pieces, seed, self.buffer, True)

    def decoded(self, raw: Raw) -> Sample:
        """A sample at ``size``, rounded as one that is kept; ValueError, naming shard, sample and column, for what cannot be decoded."""
        cells, place = raw

        def read(column: str) -> Any:
            return self.shards.cell(cells, column, f"{place}, {column}")

        return rounded(framed(read, self.columns, place, self.size, self.combine))

    def each(self) -> Iterator[Callable[[], Sample]]:
        """What decodes each sample, or raises what is wrong with it; a shard that is damaged ends there, and the next is read."""
        for piece in self.pieces:
            try:
                for raw in self.order().read(piece):
                    yield partial(self.decoded, raw)
            except (ValueError, OSError) as error:
                yield partial(_raised, error)


def _raised(error: Exception) -> Sample:
    raise error
