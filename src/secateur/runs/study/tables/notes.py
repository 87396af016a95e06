"""What stands below a table: what figures and marks mean, and which of them mean nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from secateur.measures import LEVEL
from secateur.runs.study.results import Arm, Results
from secateur.runs.study.tables.columns import DELTA, DENSITY, TO_SINGLE
from secateur.runs.study.tables.labels import label

Marks = Literal["style", "italics", "characters"]
_WHOLE = 0.999  # of the weights: fewer are zero by chance


def note(results: Results, marks: Marks = "style") -> str:
    """What the figures and marks mean, in the words of the form that shows them."""
    seeds = max((len(arm.seeds) for arm in results.arms), default=0)
    best, tied = _WORDS[marks]
    of = "density and reference" if any(arm.settings for arm in results.arms) else "density"
    parts = [
        "↑ higher is better, ↓ lower is better. ΔT in percent against the dense run of the same seed and tasks."
    ]
    if seeds > 1:
        parts.append(
            f"± is the standard deviation over seeds, of ΔT half the {LEVEL:.0%} confidence interval (Student's t). Among arms of one "
            f"{of}, the best is {best}; {tied} is what a paired t-test over the seeds does not tell from it."
        )
    else:
        parts.append(f"One seed: no spread, and differences may be noise. The best of a {of} is {best}.")
    if any(map(_dead, results.arms)):
        parts.append("A network that is dead in a task is never the best.")
    if _fewer(results):
        parts.append("An arm that lacks seeds that others have is never the best.")
    return " ".join([*parts, *caveats(results)])


def caveats(results: Results) -> list[str]:
    """Runs and seeds that are missing, references with zeros, networks that are dead in a task, and why there is no ΔT where there is none."""
    missing = results.unfinished
    several = f" and {len(missing) - 3} more" if missing[3:] else ""
    said = [f"Not finished, and in no figure: {', '.join(missing[:3])}{several}."] if missing else []
    if fewer := _fewer(results):
        listed = (f"{label(arm, results)} ({_numbers(arm.seeds)})" for arm in fewer)
        said.append(f"Fewer seeds than others: {'; '.join(listed)}.")
    for column in (DELTA, TO_SINGLE):
        short = [arm for arm in results.arms if 0 < len(arm.values.get(column, {})) < len(arm.seeds)]
        listed = (f"{label(arm, results)} ({_numbers(arm.values[column])})" for arm in short)
        if short:
            said.append(f"ΔT {column.name} over fewer seeds, as a dense run is missing: {'; '.join(listed)}.")
    for arm in results.arms:
        if arm.dense and (kept := min(arm.values.get(DENSITY, {}).values(), default=1.0)) < _WHOLE:
            said.append(f"{label(arm, results)} is no dense network: it keeps {kept:.1%} of its weights.")
    dead: dict[str, list[str]] = {}
    without: dict[str, list[str]] = {}
    for arm in results.arms:
        name = label(arm, results)
        if tasks := _dead(arm):
            seeds = ", ".join(str(seed) for seed, found in sorted(arm.dead.items()) if found)
            same = f"whose predictions of {', '.join(tasks)} are the same whatever the input (seed {seeds})"
            dead.setdefault(same, []).append(name)
        for reason in dict.fromkeys(arm.without.values()):
            without.setdefault(reason, []).append(name)
    said += [f"Dead: {'; '.join(names)}, {same}." for same, names in dead.items()]
    said += [f"No ΔT of {'; '.join(names)}: {reason}." for reason, names in without.items()]
    return said


def _fewer(results: Results) -> list[Arm]:
    """Pruned arms that lack seeds that another of the same tasks has."""
    there: dict[tuple[str, ...], set[int]] = {}
    for arm in (arm for arm in results.arms if not arm.dense):
        there.setdefault(arm.tasks, set()).update(arm.seeds)
    return [arm for arm in results.arms if not arm.dense and {*arm.seeds} != there[arm.tasks]]


def _numbers(seeds: Iterable[int]) -> str:
    found = [str(seed) for seed in sorted(seeds)]
    return f"seed{'s' if len(found) > 1 else ''} {', '.join(found)}"


def _dead(arm: Arm) -> list[str]:
    return sorted({task for tasks in arm.dead.values() for task in tasks})


_WORDS = {
    "style": ("bold", "underlined"),
    "italics": ("bold", "in italics"),
    "characters": ("marked *", "marked ~"),
}
