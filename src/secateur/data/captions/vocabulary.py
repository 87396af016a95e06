"""Word pieces: captions to numbers and back."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from secateur.data.reading import read_text
from secateur.problem import check_count

PAD, UNKNOWN, BEGIN, END = SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_INSIDE = "##"  # marks a piece that continues a word


@dataclass(frozen=True)
class Vocabulary:
    """The pieces that captions are made of; a piece that continues a word begins with ``##``, as BERT writes them.

    Captions are read in lower case and without punctuation. A word is cut into the longest pieces that fit, from the
    left; one that cannot be made of pieces is unknown.

    Args:
        pieces: The number of a piece is its place. ``[PAD]``, ``[UNK]``, ``[CLS]`` (begin) and ``[SEP]`` (end) are
            among them.

    Raises:
        ValueError: If one of these is missing, or a piece is there twice.
    """

    pieces: tuple[str, ...]

    def __post_init__(self) -> None:
        missing = [piece for piece in SPECIAL if piece not in self.pieces]
        twice = sorted(piece for piece, count in Counter(self.pieces).items() if count > 1)
        if missing or twice:
            raise ValueError(
                f"Vocabulary: {f'{missing} missing' if missing else f'{twice[:5]} twice'}; give every piece once, and "
                f"among them {list(SPECIAL)}."
            )

    @classmethod
    def of(cls, captions: Iterable[str], least: int = 1) -> Vocabulary:
        """The words that occur at least ``least`` times, frequent ones first, and every letter to spell others with.

        Raises:
            ValueError: If ``least`` is below 1.
        """
        check_least(least)
        counts = Counter(word for caption in captions for word in words(caption))
        letters = sorted({letter for word in counts for letter in word})
        whole = sorted((w for w, n in counts.items() if n >= least), key=lambda w: (-counts[w], w))
        spelt = [*letters, *(f"{_INSIDE}{letter}" for letter in letters)]
        return cls(tuple(dict.fromkeys([*SPECIAL, *whole, *spelt])))

    @classmethod
    def read(cls, path: Path | str) -> Vocabulary:
        """A file with one piece a line, such as BERT's ``vocab.txt``.

        Raises:
            FileNotFoundError: If there is none.
            ValueError: If it is not of UTF-8, or lacks a piece.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"No vocabulary at {path}; give a text file with one piece a line.")
        return cls(tuple(read_text(path).splitlines()))

    def __len__(self) -> int:
        return len(self.pieces)

    @property
    def pad(self) -> int:
        """Number of the piece that fills up."""
        return self._number[PAD]

    @property
    def begin(self) -> int:
        """Number of the piece before a caption."""
        return self._number[BEGIN]

    @property
    def end(self) -> int:
        """Number of the piece after a caption."""
        return self._number[END]

    def encode(self, caption: str) -> list[int]:
        """The numbers of a caption's pieces, without begin and end."""
        return [number for word in words(caption) for number in self._cut(word)]

    def text(self, numbers: Sequence[int]) -> str:
        """The words up to the end piece, with single spaces between; begin and fill are left out."""
        said: list[str] = []
        for number in numbers:
            piece = self.pieces[number]
            if piece == END:
                break
            if piece.startswith(_INSIDE) and said:
                said[-1] += piece.removeprefix(_INSIDE)
            elif piece not in (PAD, BEGIN):
                said.append(piece.removeprefix(_INSIDE))
        return " ".join(said)

    def _cut(self, word: str) -> list[int]:
        found: list[int] = []
        start = 0
        while start < len(word):
            mark = _INSIDE if start else ""
            ends = (end for end in range(len(word), start, -1) if mark + word[start:end] in self._number)
            end = next(ends, None)
            if end is None:
                return [self._number[UNKNOWN]]
            found.append(self._number[mark + word[start:end]])
            start = end
        return found

    @cached_property
    def _number(self) -> dict[str, int]:
        return {piece: number for number, piece in enumerate(self.pieces)}


def check_least(least: int) -> None:
    """Raises ValueError unless ``least`` is how often a word can occur; before captions are read, where there is a file of them."""
    check_count(
        "least=", least, remedy="give how often a word must occur to be a piece of its own, at least 1"
    )


def words(caption: str) -> list[str]:
    """The words of a caption in lower case, without punctuation."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", caption.lower())
