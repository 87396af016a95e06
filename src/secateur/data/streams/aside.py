"""Samples of a stream that are held out of training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from secateur.data.splitting import TooFewError, check_seed
from secateur.data.streams.order import Piece
from secateur.data.streams.streamed import Streamed
from secateur.problem import is_count

_ASIDE = 4  # keeps these draws apart from others of the seed
_SPREAD = 16  # shards that they are taken from, where so many have enough
_ALL = 2**62


def set_aside(train: Streamed, counts: Mapping[str, int], seed: int) -> dict[str, Streamed]:
    """``train`` with so many samples of it as further splits, which leave it.

    Each takes the first samples of shards drawn by ``seed``, a sixteenth from each of 16; so holding out costs no look through
    all of the data, and what was held out is read without the rest. In shards that were not shuffled when they were written
    these are no fair draw.

    Args:
        train: Whole shards.
        counts: Split to its samples; the argument that says so is called ``SPLIT_count``.
        seed: Not negative.

    Raises:
        TooFewError: If a number is below 1, or they leave nothing to learn from.
        ValueError: If ``seed`` is negative.
    """
    check_seed(seed)
    shards, many = train.shards, len(train.shards.files)
    drawn = np.random.default_rng((seed, _ASIDE, many)).permutation(many).tolist()
    begun, found = [0] * many, dict[str, Streamed]()
    for split, count in counts.items():
        left, pieces, each = count, list[Piece](), -(-count // min(_SPREAD, many))
        taken = 1
        while left > 0 and taken:
            taken = 0
            for shard in drawn:
                own = shards.available(shard, begun[shard], min(each, left))
                if own:
                    pieces.append(Piece(shard, begun[shard], begun[shard] + own))
                begun[shard], left, taken = begun[shard] + own, left - own, taken + own
        if not is_count(count) or left or not any(shards.available(s, begun[s], 1) for s in range(many)):
            samples = sum(shards.available(shard, 0, _ALL) for shard in range(many))
            raise TooFewError(f"{split}_count", count, samples)
        found[split] = train.of(pieces)
    return {"train": train.of([Piece(shard, start) for shard, start in enumerate(begun)]), **found}
