"""The lists of PACS: which images of a domain train and which test (Li et al. 2017)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from secateur.data.reading import read_text

_NAMES = ("train", "crossval", "test")


@dataclass(frozen=True)
class _Entry:
    """A line of a list: the image, its label and where that is written."""

    image: Path
    label: str
    place: str


def listed_splits(root: Path, domain: str, files: Sequence[Path]) -> list[str] | None:
    """train or test for each of the domain's images by ``{domain}_{train,crossval,test}_kfold.txt``; None without lists.

    The test list of PACS is the whole domain, training and crossval images together, for it was made to test on a domain
    that was not trained on. Here every domain trains, so testing on it would show images of training: ``crossval`` is
    tested on instead. Where the test list has none of the training images, it is the test split, and ``crossval`` trains.

    Args:
        root: Where the lists lie; what they list is relative to it.
        domain: Its name.
        files: Its images.

    Raises:
        FileNotFoundError: If only some of the lists are there, or a listed image is not.
        ValueError: If a line is no path and label, the labels of a class disagree, lists overlap otherwise, or an image is
            on no list.
    """
    lists = {name: root / f"{domain}_{name}_kfold.txt" for name in _NAMES}
    absent = [path for path in lists.values() if not path.is_file()]
    if len(absent) == len(lists):
        return None
    if absent:
        raise FileNotFoundError(
            f"{absent[0]} is missing, but others of the domain's lists are there; copy all three, or take all away."
        )
    known = set(files)
    found = {name: {e.image: e for e in _entries(root, path, known)} for name, path in lists.items()}
    _check_labels([entry for entries in found.values() for entry in entries.values()])
    listed = set[Path]().union(*found.values())
    unlisted = [str(path) for path in files if path not in listed]
    if unlisted:
        raise ValueError(
            f"{len(unlisted)} images of domain {domain!r} are on none of its lists beside {lists['train']}: "
            f"{', '.join(unlisted[:3])}; list them, or take them away."
        )
    train, held, test = (found[name] for name in _NAMES)
    whole = test.keys() >= train.keys() and test.keys() == train.keys() | held.keys()
    for one, other in ((train, held),) if whole else ((train, held), (train, test), (held, test)):
        both = next((entry for image, entry in one.items() if image in other), None)
        if both is not None:
            raise ValueError(
                f"{both.place} and {other[both.image].place} both list {both.image}; the test list must be all of train "
                "and crossval, as that of PACS, or have none of it. Take one of the lines off."
            )
    chosen = held if whole else test
    return ["test" if path in chosen else "train" for path in files]


def _entries(root: Path, source: Path, known: set[Path]) -> Iterator[_Entry]:
    for number, line in enumerate(read_text(source).splitlines(), 1):
        if not line.strip():
            continue
        place = f"{source}, line {number}"
        name, _, label = line.strip().rpartition(" ")
        if not name or not label.isdigit():
            raise ValueError(f"{place}: {line[:80]!r}; it must be a path and a number. Mend the line.")
        image = root / name.strip()
        if image not in known:
            raise FileNotFoundError(f"{place} lists {image}, which is absent; copy it or take the line off.")
        yield _Entry(image, label, place)


def _check_labels(entries: Sequence[_Entry]) -> None:
    """Each class has a label of its own: PACS counts its folders from 1."""
    label_of: dict[str, _Entry] = {}
    class_of: dict[str, _Entry] = {}
    for entry in entries:
        name = entry.image.parent.name
        first, same = label_of.setdefault(name, entry), class_of.setdefault(entry.label, entry)
        if first.label != entry.label or same.image.parent.name != name:
            other = first if first.label != entry.label else same
            raise ValueError(
                f"{entry.place}: label {entry.label} for an image of {name!r}, but {other.place} has {other.label} for "
                f"one of {other.image.parent.name!r}; a class needs a label of its own. Mend the wrong one."
            )
