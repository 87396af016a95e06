"""What an arm of a comparison is called where it stands beside others."""

from __future__ import annotations

from collections.abc import Collection

from secateur.runs.report import percent
from secateur.runs.study.results import Arm, Results
from secateur.runs.study.variants import stem


def label(arm: Arm, results: Results) -> str:
    """The recipe, and what tells the arm from others of it."""
    parts = [stem(arm.recipe)]
    if arm.density is not None and len({a.density for a in results.arms if a.density is not None}) > 1:
        parts.append(percent(arm.density))
    several = len({a.tasks for a in results.arms}) > 1
    if several:
        parts.append("+".join(arm.tasks))
    swept = {option for a in results.arms for option, _ in a.settings}
    parts += [
        f"{called(option, swept)} {value}"
        for option, value in arm.settings
        if not several or option != "data.tasks"
    ]
    return ", ".join(parts)


def called(option: str, among: Collection[str]) -> str:
    """An option by the last of its names, or all of them where another of ``among`` ends alike."""

    def last(name: str) -> str:
        return name.removesuffix(".name").rpartition(".")[2]

    alike = [other for other in among if last(other) == last(option)]
    return last(option) if len(alike) < 2 else option
