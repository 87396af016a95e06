"""CelebAMask-HQ: 30 000 faces with masks of their parts and 40 attributes (Lee et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch.utils.data import Dataset

from secateur.data.augment import Sample
from secateur.data.celebamask.files import Faces, read_attributes
from secateur.data.data import Data
from secateur.data.dense import Measures, check_tasks, dense_data
from secateur.data.labels import binary
from secateur.data.lists import read_json
from secateur.data.making import Loading
from secateur.data.splitting import check_size, shares
from secateur.problem import check_choice

CLASSES = ("background", "hair", "skin")
_ATTRIBUTES = "CelebAMask-HQ-attribute-anno.txt"
_SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}  # Less is More, section 4.1


def celebamask(
    *,
    root: str,
    tasks: Sequence[str] = ("seg", "Male", "Smiling"),
    size: tuple[int, int] = (256, 256),
    batch: int = 16,
    seed: int = 0,
    split: str | None = None,
    workers: int = 0,
    augment: bool = True,
    measures: Measures = "less_is_more",
    cache: float = 4.0,
) -> Data:
    """CelebAMask-HQ: background, hair and skin, and attributes of the face as a yes or no.

    Of the part masks, ``skin`` is laid down first and ``hair`` on top. Where root has Less is More's merged masks
    (``CelebA-HQ-segmask/{i}_mask.npy``, 0 background, 1 hair, 2 skin), those are read instead. An attribute's loss is
    binary cross-entropy of a logit, its metric the accuracy.

    Args:
        root: Folder with ``CelebA-HQ-img``, ``CelebAMask-HQ-mask-anno`` and ``CelebAMask-HQ-attribute-anno.txt``.
        tasks: ``seg`` and any of the 40 attributes, by name.
        size: ``(height, width)`` in pixels; images are resized to it bilinearly, masks to the nearest pixel.
        batch: Faces a batch.
        seed: Of the splits, the order and the augmentation.
        split: JSON file ``{"train": [0, 5, ...], "val": [...], "test": [...]}`` of the numbers of faces; without it 60,
            20 and 20 % drawn by seed.
        workers: Processes that load; 0 loads in this one.
        augment: Zoom and mirror the training faces at random.
        measures: Of seg: IoU by image as Less is More, or mean IoU and pixel accuracy as AdapMTL.
        cache: Memory for decoded faces, GiB (all with masks take 7.3 at 256x256); if they need more, each is decoded and checked when it is used.

    Raises:
        FileNotFoundError: If root or a file is missing or empty.
        ValueError: If a file is corrupt or holds what it must not, naming it; or an argument is out of range.
    """
    check_choice("measures", measures, Measures)
    splits = celebamask_frames(root=root, tasks=tasks, size=size, seed=seed, split=split)
    return dense_data(
        splits,
        tasks,
        Loading(size, batch, seed, workers, augment, cache),
        classes=CLASSES,
        measures=measures,
        others={task: binary() for task in tasks if task != "seg"},
    )


def celebamask_frames(
    *,
    root: str,
    tasks: Sequence[str] = ("seg", "Male", "Smiling"),
    size: tuple[int, int] = (256, 256),
    seed: int = 0,
    split: str | None = None,
) -> dict[str, Dataset[Sample]]:
    """The faces in ``train``, ``val`` and ``test``, decoded when asked for; arguments as of :func:`celebamask`.

    Raises:
        FileNotFoundError: If root, the attributes or the split file are missing, or the masks of hair of all faces.
        ValueError: If one of these is damaged, or an argument is out of range.
    """
    check_size(size)
    table = read_attributes(Path(root) / _ATTRIBUTES)
    faces = sorted(table.faces)
    check_tasks(tasks, ("seg", *table.names))
    if split is None:
        parts = shares(len(faces), tuple(_SHARES.values()), seed)
        chosen = {name: [faces[i] for i in part] for name, part in zip(_SHARES, parts, strict=True)}
    else:
        chosen = _chosen(Path(split), table.faces)
    splits = {name: Faces(Path(root), numbers, table, tasks, size) for name, numbers in chosen.items()}
    if "seg" in tasks and not any(split.has_hair() for split in splits.values()):
        raise FileNotFoundError(
            f"root={root!r}: not one of the {len(faces)} faces has a mask of hair, CelebAMask-HQ-mask-anno/0/00000_hair.png and "
            "so on; copy the masks again, or leave seg out of tasks."
        )
    return dict[str, Dataset[Sample]](splits)


def _chosen(source: Path, faces: Mapping[int, object]) -> dict[str, list[int]]:
    """Numbers of faces by split, of a JSON file."""
    content, found = read_json(source), dict[str, list[int]]()
    for name in _SHARES:
        numbers = content.get(name) if isinstance(content, dict) else None
        if not isinstance(numbers, list) or not numbers or not all(_known(n, faces) for n in numbers):
            raise ValueError(
                f"{source}: {name!r} must list numbers of faces, {min(faces)} to {max(faces)}, at least one; mend the file."
            )
        found[name] = numbers
    if len({n for numbers in found.values() for n in numbers}) < sum(map(len, found.values())):
        raise ValueError(f"{source} lists a face twice; a face may be in one split alone. Mend the file.")
    return found


def _known(number: object, faces: Mapping[int, object]) -> bool:
    return isinstance(number, int) and number in faces
