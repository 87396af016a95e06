"""What a look at finished runs found, and its table as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from secateur.runs.report import Drawing


@dataclass(frozen=True)
class Look:
    """What a look at finished runs found.

    Args:
        heads: Of the columns.
        rows: As text.
        notes: Sentences.
        figures: As plain values.
        pictures: Name of the files, without a suffix, to what is drawn; None where there is nothing.
    """

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]
    figures: Mapping[str, Any]
    pictures: Mapping[str, Drawing | None]


def markdown_of(found: Look) -> str:
    """A table, and its notes as a list."""
    made = [f"| {' | '.join(found.heads)} |", "| --- |" + " ---: |" * (len(found.heads) - 1)]
    made += [f"| {' | '.join(row)} |" for row in found.rows]
    return "\n".join([*made, "", *(f"- {note}" for note in found.notes), ""])
