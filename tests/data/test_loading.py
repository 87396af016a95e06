from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import Dataset

from secateur.data.augment import Sample
from secateur.data.loading import StepLoader
from secateur.data.packing import Packed
from secateur.problem.problem import Batch


class Numbered(Dataset[Sample]):
    """Sample i has the label i everywhere, and counts how often it was decoded."""

    def __init__(self, samples: int) -> None:
        self.samples = samples
        self.decoded = [0] * samples

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> Sample:
        self.decoded[index] += 1
        g = torch.Generator().manual_seed(index)
        return {
            "image": torch.rand(3, 6, 8, generator=g),
            "seg": torch.full((6, 8), index),
            "depth": torch.rand(1, 6, 8, generator=g),
        }


def loader(
    samples: int = 10, *, batch: int = 3, shuffle: bool = True, workers: int = 0, seed: int = 7
) -> StepLoader:
    return StepLoader(
        dataset=Numbered(samples),
        tasks=("seg", "depth"),
        batch=batch,
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        seed=seed,
        shuffle=shuffle,
        augment=shuffle,
        workers=workers,
    )


def equal(a: Batch, b: Batch) -> bool:
    assert isinstance(a[0], Tensor)
    assert isinstance(b[0], Tensor)
    return (
        torch.equal(a[0], b[0])
        and all(torch.equal(a[1][t], b[1][t]) for t in a[1])
        and a[1].keys() == b[1].keys()
    )


def ids(batches: Iterator[Batch]) -> list[list[int]]:
    return [[int(label) for label in targets["seg"][:, 0, 0]] for _, targets in batches]


@given(st.integers(0, 40), st.integers(1, 10), st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_batch_k_depends_on_seed_and_k_alone(step: int, batch: int, seed: int) -> None:
    straight = list(islice(loader(batch=batch, seed=seed).from_step(0), step + 2))
    resumed = list(islice(loader(batch=batch, seed=seed).from_step(step), 2))
    assert all(equal(a, b) for a, b in zip(straight[step:], resumed, strict=True))


def test_an_epoch_is_the_first_steps_and_shows_each_sample_at_most_once() -> None:
    load = loader()
    epoch = list(load)
    assert len(epoch) == len(load) == 3
    assert all(equal(a, b) for a, b in zip(epoch, islice(load.from_step(0), 3), strict=True))
    seen = [i for batch in ids(iter(epoch)) for i in batch]
    assert len(set(seen)) == len(seen) == 9


def test_epochs_and_seeds_differ_in_order_and_views() -> None:
    load = loader()
    orders = {str(ids(islice(load.from_step(3 * epoch), 3))) for epoch in range(4)}
    assert len(orders) == 4
    assert ids(iter(loader(seed=8))) != ids(iter(load))
    one = loader(1, batch=1)  # the same sample at each step: only its view changes
    views = [targets["depth"] for _, targets in islice(one.from_step(0), 8)]
    assert any(not torch.equal(views[0], view) for view in views[1:])


def test_evaluation_keeps_the_order_the_last_batch_and_the_picture() -> None:
    load = loader(shuffle=False)
    assert len(load) == 4
    assert ids(iter(load)) == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    image, _ = next(iter(load))
    assert isinstance(image, Tensor)
    torch.testing.assert_close(image[2] * 0.25 + 0.5, Numbered(3)[2]["image"])


def test_batches_have_the_shapes_and_dtypes_of_the_contract() -> None:
    image, targets = next(loader().from_step(0))
    assert isinstance(image, Tensor)
    assert (image.shape, image.dtype) == ((3, 3, 6, 8), torch.float32)
    assert {t: (tuple(x.shape), x.dtype) for t, x in targets.items()} == {
        "seg": ((3, 6, 8), torch.int64),
        "depth": ((3, 1, 6, 8), torch.float32),
    }


@pytest.mark.parametrize("shuffle", [True, False])
def test_loading_leaves_the_global_generators_alone(shuffle: bool) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    list(islice(loader(shuffle=shuffle).from_step(0), 5))
    list(loader(shuffle=shuffle))
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (np.random.get_state()[1].tolist(), random.getstate())


def test_workers_change_nothing() -> None:
    alone, helped = loader(), loader(workers=2)
    before = torch.get_rng_state()
    batches = list(islice(helped.from_step(2), 4))
    assert torch.equal(before, torch.get_rng_state())
    assert all(equal(a, b) for a, b in zip(islice(alone.from_step(2), 4), batches, strict=True))


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fill one batch of 16"):
        loader(10, batch=16)
    with pytest.raises(ValueError, match="batch=0"):
        loader(batch=0)
    with pytest.raises(ValueError, match="seed=-1"):
        loader(seed=-1)
    with pytest.raises(ValueError, match="workers=-1"):
        loader(workers=-1)
    with pytest.raises(ValueError, match="step=-1"):
        loader().from_step(-1)


def test_packed_decodes_once_and_always_returns_the_same() -> None:
    source = Numbered(4)
    packed = Packed(source, ("seg", "depth"))
    first, second = packed[2], packed[2]
    assert source.decoded == [0, 0, 1, 0]
    assert all(torch.equal(first[f], second[f]) and first[f].dtype == second[f].dtype for f in first)
    packed.fill()
    assert source.decoded == [1, 1, 1, 1]
    exact = source[2]
    assert torch.equal(first["seg"], exact["seg"])
    assert torch.equal(first["depth"], exact["depth"])
    torch.testing.assert_close(first["image"], exact["image"], atol=0.5 / 255 + 1e-6, rtol=0)


def test_packed_samples_may_be_changed_in_place() -> None:
    packed = Packed(Numbered(1), ("depth",))
    kept = packed[0]["depth"].clone()
    packed[0]["depth"].zero_()
    assert torch.equal(packed[0]["depth"], kept)


def test_packed_names_what_is_missing_and_labels_that_do_not_fit() -> None:
    with pytest.raises(KeyError, match=r"Sample 0 lacks \['normal'\]"):
        Packed(Numbered(1), ("normal",)).fill()
    with pytest.raises(ValueError, match="span 300 to 300"):
        Packed(Numbered(301), ("seg",))[300]


def test_packed_that_keeps_nothing_returns_the_same() -> None:
    source = Numbered(4)
    kept, decoded = Packed(source, ("seg", "depth")), Packed(source, ("seg", "depth"), keep=False)
    for field, x in kept[2].items():
        assert torch.equal(x, decoded[2][field])
        assert x.dtype == decoded[2][field].dtype
    assert source.decoded[2] == 1 + 2 * 3  # once to keep, twice a field
    assert kept.gibibytes() == pytest.approx(4 * sum(x.nbytes for x in kept._kept[2].values()) / 2**30)  # type: ignore[union-attr]
    assert Packed(Numbered(0), ()).gibibytes() == 0.0


def test_targets_are_made_of_the_field_after_augmentation() -> None:
    plain, encoded = (
        StepLoader(
            dataset=Numbered(4),
            tasks=("seg", "depth"),
            batch=2,
            mean=(0.0,) * 3,
            std=(1.0,) * 3,
            shuffle=True,
            augment=True,
            encode=encode,
        )
        for encode in ({}, {"depth": torch.negative})
    )
    for (_, a), (_, b) in zip(plain, encoded, strict=True):
        assert torch.equal(a["depth"], -b["depth"])
        assert torch.equal(a["seg"], b["seg"])


@pytest.mark.parametrize("world", [1, 2, 3, 6])
def test_processes_share_a_batch_with_the_draws_of_the_whole(world: int) -> None:
    whole = list(islice(loader(20, batch=6).from_step(2), 5))
    shares = [list(islice(loader(20, batch=6).share(rank, world).from_step(2), 5)) for rank in range(world)]
    for batch, parts in zip(whole, zip(*shares, strict=True), strict=True):
        images, depths = [torch.cat([p[0] for p in parts]), torch.cat([p[1]["depth"] for p in parts])]
        assert torch.equal(images, batch[0])
        assert torch.equal(depths, batch[1]["depth"])


def test_a_batch_that_has_no_equal_shares_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"batch is 6, which 4 processes cannot share evenly; .* such as 4 or 8"
    ):
        loader(20, batch=6).share(0, 4)
    with pytest.raises(ValueError, match="the last batch of an epoch is 2, which 3 processes cannot share"):
        loader(20, batch=6, shuffle=False).share(0, 3)
    with pytest.raises(ValueError, match=r"share=\(2, 2\); give \(rank, world\)"):
        loader(20, batch=6).share(2, 2)
