"""Image classification in several visual domains, one folder each: PACS, Office-Home, fine-grained sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset, Subset

from secateur.data.augment import Sample
from secateur.data.data import Data
from secateur.data.dense import check_tasks
from secateur.data.domains.files import Images, domain_names, read_domain
from secateur.data.domains.loading import DomainLoader
from secateur.data.labels import classification
from secateur.data.making import PRETRAINED_MEAN, PRETRAINED_STD
from secateur.data.packing import Packed, keep_what_fits
from secateur.data.splitting import check_seed, check_size

_SPLITS = ("train", "val", "test")


def domains(
    *,
    root: str,
    tasks: Sequence[str] | None = None,
    size: tuple[int, int] = (64, 64),
    batch: int = 16,
    seed: int = 0,
    val_share: float = 0.1,
    test_share: float = 0.2,
    workers: int = 0,
    augment: bool = True,
    cache: float = 4.0,
) -> Data:
    """One classification task for each domain, with images of its own.

    A batch is ``({domain: images}, {domain: labels})``: in training ``batch`` images of every domain.

    Args:
        root: A folder ``{domain}/{class}/*.jpg``; or ``{domain}/{train,test}/{class}/*.jpg``; with ``{domain}_train_kfold.txt``
            and its fellows the splits of PACS, tested on ``crossval``, for its test list is the whole domain
            (``lists.listed_splits``); or packed ``{domain}_{train,test}.npz`` with a ``meta.json``.
        tasks: The domains to take, the only ones that are read; all if left out.
        size: ``(height, width)`` in pixels; images are resized to it, whatever their size.
        batch: Images of each domain in a training step.
        seed: Of the validation split, the order and the augmentation.
        val_share: Share of each class's training images held out, to choose settings on; one stays to learn from, and one is held out.
        test_share: Share of each class's images to test on, drawn by the hash of the path, where the folder has no split.
        workers: Processes that load.
        augment: Zoom and mirror the training images at random.
        cache: Memory for decoded images, GiB; if they need more, each is decoded and checked when it is used.

    Raises:
        FileNotFoundError: If root or a listed file is missing, or a domain has no images.
        ValueError: If a file is corrupt, lists contradict each other, a label has no class, or an argument is out of range.
    """
    found = domain_images(
        root=root, tasks=tasks, size=size, seed=seed, val_share=val_share, test_share=test_share
    )
    classes = {domain: part.classes for domain, part in found.items()}
    packed = {domain: Packed(images, ("label",)) for domain, images in found.items()}
    keep_what_fits(list(packed.values()), cache, workers)
    parts: dict[str, dict[str, Dataset[Sample]]] = {split: {} for split in _SPLITS}
    for domain, samples in packed.items():
        for split, index in found[domain].splits.items():
            parts[split][domain] = Subset(samples, index)

    def loader(split: str) -> DomainLoader:
        training = split == "train"
        return DomainLoader(
            parts[split],
            batch,
            PRETRAINED_MEAN,
            PRETRAINED_STD,
            seed=seed,
            training=training,
            augment=training and augment,
            workers=workers,
        )

    return Data(
        tasks={domain: classification(names)[0] for domain, names in classes.items()},
        channels={domain: len(names) for domain, names in classes.items()},
        train=loader("train"),
        val=loader("val"),
        test=loader("test"),
        classes=classes,
        mean=PRETRAINED_MEAN,
        std=PRETRAINED_STD,
        size=size,
    )


def domain_images(
    *,
    root: str,
    tasks: Sequence[str] | None = None,
    size: tuple[int, int] = (64, 64),
    seed: int = 0,
    val_share: float = 0.1,
    test_share: float = 0.2,
) -> dict[str, Images]:
    """Domain to its images, not yet decoded, with their splits; arguments and errors as of :func:`domains`."""
    for name, share in (("val_share", val_share), ("test_share", test_share)):
        if not 0 < share < 1:
            raise ValueError(f"{name}={share}; give a share between 0 and 1.")
    check_size(size)
    known = domain_names(Path(root))
    chosen = known if tasks is None else list(tasks)
    check_tasks(chosen, known)
    found = {domain: read_domain(Path(root), domain, size, test_share) for domain in chosen}
    for domain, images in found.items():
        images.splits = _with_validation(images, val_share, seed, domain)
    return found


def domains_frames(
    *,
    root: str,
    tasks: Sequence[str] | None = None,
    size: tuple[int, int] = (64, 64),
    seed: int = 0,
    val_share: float = 0.1,
    test_share: float = 0.2,
) -> dict[str, Dataset[Sample]]:
    """``"<domain> <split>"`` to its samples, not yet decoded; arguments and errors as of :func:`domains`."""
    found = domain_images(
        root=root, tasks=tasks, size=size, seed=seed, val_share=val_share, test_share=test_share
    )
    return {f"{d} {s}": Subset(part, index) for d, part in found.items() for s, index in part.splits.items()}


def _with_validation(images: Images, share: float, seed: int, domain: str) -> Mapping[str, list[int]]:
    """Holds ``share`` of each class's training images out, at least one, and not all."""
    check_seed(seed)
    rng = np.random.default_rng((seed, len(images)))
    learn: list[int] = []
    held: list[int] = []
    labels = np.asarray([images.labels[i] for i in images.splits["train"]])
    for label in range(len(images.classes)):
        chosen = rng.permutation(np.asarray(images.splits["train"])[labels == label]).tolist()
        count = min(max(1, round(share * len(chosen))), len(chosen) - 1)
        if len(chosen) < 2:
            raise ValueError(
                f"Domain {domain!r} has {len(chosen)} training images of class {images.classes[label]!r}; "
                "at least 2 are needed, one to learn from and one to validate on."
            )
        held += chosen[:count]
        learn += chosen[count:]
    return {"train": sorted(learn), "val": sorted(held), "test": images.splits["test"]}
