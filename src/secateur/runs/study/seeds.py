"""Which seeds a comparison has: so many, or these."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any, cast

_LARGEST = 2**32 - 1  # what NumPy, which shuffles and augments, takes


def seeds_of(asked: int | Sequence[int]) -> tuple[int, ...]:
    """A number is how many, from 0; a list is the seeds themselves.

    Raises:
        ValueError: If there are none, or one is there twice, below zero or larger than random generators take.
    """
    given: Any = asked
    if is_whole(given):
        if given < 1:
            raise ValueError(
                f"--seeds is {given}; at least 1 is needed. The seeds themselves are a list, such as 0 3 7."
            )
        return tuple(range(int(given)))
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ValueError(
            f"--seeds is {given!r}; give how many, such as 3, or the seeds themselves, such as 0 3 7."
        )
    listed = list(cast("Iterable[Any]", given))
    if not listed:
        raise ValueError("--seeds names no seed; give how many, or a list such as 0 3 7.")
    for seed in listed:
        if not is_whole(seed) or not 0 <= seed <= _LARGEST:
            raise ValueError(f"--seeds: {seed} is no seed; give whole numbers from 0 to {_LARGEST}.")
        if listed.count(seed) > 1:
            raise ValueError(f"--seeds has {seed} twice; the same run twice is no second seed.")
    return tuple(map(int, listed))


def is_whole(value: Any) -> bool:
    """Whether it is a whole number, without torch, which the help of a command does not wait for; True and False are none."""
    return not isinstance(value, bool) and isinstance(value, Integral)


def seeds_said(words: Sequence[str]) -> int | tuple[int, ...]:
    """``3`` is how many; ``0 3 7``, ``0,3,7``, ``[0, 3, 7]``, and ``7,`` or ``[7]`` for one, are the seeds themselves.

    Raises:
        ValueError: As :func:`seeds_of`, or if a word is no whole number.
    """
    text = " ".join(words).strip()
    listed = text.startswith("[") and text.endswith("]")
    found = (text[1:-1] if listed else text).replace(",", " ").split()
    try:
        numbers = tuple(int(word) for word in found)
    except ValueError as error:
        raise ValueError(
            f"--seeds is {text}; give how many, such as 3, or the seeds themselves, such as 0 3 7."
        ) from error
    asked = numbers if listed or "," in text or len(numbers) != 1 else numbers[0]
    seeds_of(asked)
    return asked


class SeedsAction(argparse.Action):
    """Of ``--seeds``: an error of a list is one of the whole list."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: Any = None
    ) -> None:
        """Keeps what :func:`seeds_said` makes of the words."""
        if hasattr(namespace, given := f"{self.dest}_given"):
            parser.error("--seeds is given twice; give all of them in one, such as 0 3 7.")
        setattr(namespace, given, True)
        try:
            setattr(namespace, self.dest, seeds_said(values))
        except ValueError as error:
            parser.error(str(error))
