"""Every image of an epoch once, in an order of the seed, on any number of processes, from any step on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import settings as examined
from hypothesis import strategies as st

from miniatures.streams import KINDS, flat, numbers, streamed, streams
from secateur.data.hf_images import hf_images
from secateur.data.streams.order import Order, Piece, Place

pytestmark = pytest.mark.usefixtures("_quiet_datasets")
TRAIN = list(range(1, 21))
SPLITS = {"train": TRAIN, "validation": [21, 22, 23], "test": [24, 25]}


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: streams(kind, tmp_path_factory.mktemp(kind), **SPLITS) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_each_image_of_an_epoch_is_seen_once_and_none_is_left_over(kind: str, roots: dict[str, Path]) -> None:
    data: Any = streamed(kind, roots[kind], batch=8)
    seen = flat(data.train.from_step(0), data, 15)  # six epochs of 20 in batches of 8
    epochs = [seen[i : i + 20] for i in range(0, 120, 20)]
    assert all(sorted(epoch) == TRAIN for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 6
    assert seen == flat(streamed(kind, roots[kind], batch=8).train.from_step(0), data, 15)
    assert seen != flat(streamed(kind, roots[kind], batch=8, seed=1).train.from_step(0), data, 15)
    assert sorted(flat(data.train, data)) == sorted(seen[:16])  # one epoch alone: full batches
    assert flat(data.val, data) == [21, 22, 23]
    assert flat(data.test, data) == [24, 25]


@pytest.mark.parametrize("kind", KINDS)
def test_any_step_can_be_the_first(kind: str, roots: dict[str, Path]) -> None:
    data: Any = streamed(kind, roots[kind], batch=3)
    steps = numbers(data.train.from_step(0), data, 24)
    running = data.train.from_step(0)
    for step in range(20):
        assert numbers(data.train.from_step(step), data, 4) == steps[step : step + 4]
        assert numbers(data.train.from_place(step, running.place()), data, 4) == steps[step : step + 4]
        next(running)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("world", [2, 4, 12])
def test_processes_share_each_batch_also_where_they_are_more_than_the_shards(
    kind: str, world: int, roots: dict[str, Path]
) -> None:
    data: Any = streamed(kind, roots[kind], batch=12, augment=True)
    for step, whole in zip(range(3), data.train.from_step(0), strict=False):
        pieces = [next(data.train.share(rank, world).from_step(step)) for rank in range(world)]
        assert torch.equal(torch.cat([x for x, _ in pieces]), whole[0])
        assert all(torch.equal(torch.cat([t[n] for _, t in pieces]), whole[1][n]) for n in whole[1])
    with pytest.raises(ValueError, match="batch is 12, which 5 processes cannot share evenly"):
        data.train.share(0, 5)


@pytest.mark.parametrize("kind", KINDS)
def test_workers_change_nothing(kind: str, roots: dict[str, Path]) -> None:
    alone, helped = (streamed(kind, roots[kind], augment=True, workers=n).train for n in (0, 3))
    theirs = cast(Any, helped).from_step(2)
    for _, (a, s), (b, t) in zip(range(7), cast(Any, alone).from_step(2), theirs, strict=False):
        assert torch.equal(a, b)
        assert all(torch.equal(s[task], t[task]) for task in s)
    steps = numbers(cast(Any, alone).from_step(0), streamed(kind, roots[kind]), 12)
    place = theirs.place()  # of what was handed out, not of what was read ahead
    ahead = cast(Any, alone).from_place(9, place)
    assert numbers(ahead, streamed(kind, roots[kind], augment=False), 3) == steps[9:12]


@pytest.mark.parametrize("kind", KINDS)
def test_images_and_labels_are_those_that_are_not_streamed(kind: str, roots: dict[str, Path]) -> None:
    plain = hf_images(
        root=str(roots["parquet"]), labels={"kind": "kind", "count": "legs"}, size=(8, 8), batch=2
    )
    data = streamed(kind, roots[kind], batch=2)
    assert data.channels == plain.channels == {"kind": 3, "count": 5}
    for (a, s), (b, t) in zip(data.val, plain.val, strict=True):
        assert torch.equal(a, b)  # type: ignore[arg-type]
        assert all(torch.equal(s[task], t[task]) for task in t)
    found = dict(_each(data))
    assert found == {n: (n % 3, -1 if n == 5 else n % 5) for n in TRAIN}


def _each(data: Any) -> Any:
    for batch in data.train:
        for n, kind, count in zip(*numbers([batch], data), *batch[1].values(), strict=True):
            yield n, (int(kind), int(count))


def test_the_number_of_batches_is_that_of_the_files_or_nobody_knows_it(roots: dict[str, Path]) -> None:
    for kind in ("parquet", "saved"):
        data: Any = streamed(kind, roots[kind], batch=8)
        assert (len(data.train), len(data.val)) == (2, 1)
    with pytest.raises(TypeError, match="nobody knows"):
        len(streamed("tar", roots["tar"]).train)  # type: ignore[arg-type]


class Counted:
    """Shards of so many samples each, which are their numbers; ``known`` says whether they say so."""

    def __init__(self, sizes: list[int], known: bool) -> None:
        self.sizes, self.known, self.files = sizes, known, [Path(f"{i}") for i in range(len(sizes))]

    def count(self, shard: int) -> int | None:
        return self.sizes[shard] if self.known else None

    def available(self, shard: int, start: int, most: int) -> int:
        return max(0, min(most, self.sizes[shard] - start))

    def read(self, shard: int, start: int) -> Any:
        first = sum(self.sizes[:shard])
        return iter([({"n": n}, "") for n in range(first + start, first + self.sizes[shard])])


@examined(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy otherwise
@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=6).filter(any),
    st.integers(1, 12),
    st.booleans(),
    st.booleans(),
    st.integers(0, 3),
)
def test_law_of_the_order(sizes: list[int], buffer: int, known: bool, shuffle: bool, seed: int) -> None:
    shards: Any = Counted(sizes, known)
    buffer = buffer if shuffle else 1
    order = Order(shards, [Piece(i) for i in range(len(sizes))], seed, buffer, shuffle)
    total = sum(sizes)
    found = [(p, r[0]["n"]) for (p, r), _ in zip(order.from_place(Place()), range(3 * total), strict=False)]
    places, seen = [p for p, _ in found], [n for _, n in found]
    for epoch in range(3):
        assert sorted(seen[epoch * total : (epoch + 1) * total]) == list(range(total))
    assert shuffle or seen == 3 * list(range(total))
    assert len(list(order.from_place(Place(), once=True))) == total
    for number in range(0, 2 * total, 3):
        assert order.at(number) == places[number]
        onward = order.from_place(places[number])
        assert [next(onward)[1][0]["n"] for _ in range(total)] == seen[number : number + total]


@pytest.mark.parametrize("kind", KINDS)
def test_shards_that_were_moved_are_the_same(kind: str, tmp_path: Path) -> None:
    root = streams(kind, tmp_path / "set", **SPLITS)
    (tmp_path / "b").mkdir()
    found: Any = streamed(kind, root)
    before = found.train.fingerprint
    after: Any = streamed(kind, root.rename(tmp_path / "b" / "copied"))
    assert before == after.train.fingerprint != after.test.fingerprint
    shard = after.train.dataset.shards.files[0]
    for place in (0, shard.stat().st_size - 1):  # another of the same size
        with shard.open("r+b") as file:
            file.seek(place)
            old = file.read(1)
            file.seek(place)
            file.write(bytes([old[0] ^ 1]))
        assert after.train.fingerprint != before
        with shard.open("r+b") as file:
            file.seek(place)
            file.write(old)
    assert after.train.fingerprint == before
