"""What the floors did: a sentence, and a row for each training."""

from __future__ import annotations

from dataclasses import dataclass

from secateur.runs.report.formats import listing, percent
from secateur.runs.report.record import Floors
from secateur.runs.report.tables import Cell


@dataclass(frozen=True)
class FloorTable:
    """The section of a run that was trained under floors.

    Args:
        sentence: What came out.
        tasks: Tasks with a floor, and what each might lose.
        rows: Density of an attempt, what each of these tasks lost, whether it was good.
    """

    sentence: str
    tasks: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, tuple[Cell, ...], str], ...]


def floor_table(floors: Floors) -> FloorTable | None:
    """The section, None for a run without floors."""
    if not floors.asked or not floors.attempts:
        return None
    rows = [
        (
            percent(density),
            tuple(
                Cell(percent(lost[task]), verdict="worse" if task in stopped else "better")
                for task in floors.asked
            ),
            f"stopped by {listing(stopped)}" if stopped else "kept",
        )
        for density, lost, stopped in floors.attempts
    ]
    tasks = tuple((task, percent(share)) for task, share in floors.asked.items())
    return FloorTable(sentence(floors), tasks, tuple(rows))


def sentence(floors: Floors) -> str:
    """Which density was kept, and which task stopped the sparser ones."""
    density, lost, stopped = floors.attempts[0]
    if not stopped:
        return f"Every task kept its floor at the density asked, {percent(density)}."
    why = listing(
        f"{task} (would lose {percent(lost[task])}, {percent(floors.asked[task])} allowed)"
        for task in stopped
    )
    kept = [d for d, _, by in floors.attempts if not by]
    end = (
        f"the sparsest that holds has {percent(min(kept))}"
        if kept
        else "no density that was tried holds, so it is dense"
    )
    beyond = (
        f" The method cannot have {listing(map(percent, floors.unreachable))}." if floors.unreachable else ""
    )
    return f"{why} stopped a density of {percent(density)}; {end}.{beyond}"
