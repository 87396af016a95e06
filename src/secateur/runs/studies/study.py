"""A study: a table or figure of a paper as a file that says which runs it is made of, and what the paper printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from secateur.runs.parser import nearest
from secateur.runs.studies.catalog import study_path
from secateur.runs.study import SAME, Variant
from secateur.runs.written import read


@dataclass(frozen=True)
class Published:
    """What a paper printed.

    Args:
        data: Name of the data set that its figures are of.
        settings: How its runs were made: key of a configuration, such as ``model.width``, to value.
        values: Row to column, such as ``seg miou``, to figure, in the units of ours.
        where: Task to the settings without which its metrics mean something else there and do not stand beside ours.
        note: What else keeps its figures from being ours.
    """

    data: str
    settings: Mapping[str, Any]
    where: Mapping[str, Mapping[str, Any]]
    values: Mapping[str, Mapping[str, float]]
    note: str


@dataclass(frozen=True)
class Study:
    """A table or figure as a grid of runs.

    Args:
        name: Of the command line.
        about: A sentence.
        source: Paper, and table or figure.
        tasks: That its data must have, by what the data set is called; those under ``""`` for all others. Where it may be any, none.
        least: How many tasks the data must have at least.
        rows: Recipes and their settings, in the order of the table.
        options: Of ``secateur train``, by what the data set is called; those under ``""`` for all, which the others follow.
        densities: Kept fractions.
        combinations: Every subset of the tasks.
        single: Networks for each task alone as well.
        same: What all runs must have alike.
        columns: Shown, such as ``ΔT mean`` or ``seg miou``; those that the data do not have are left out.
        against: Row that all others are tested against; none where empty.
        picture: ``curve``: ΔT over sparsity; ``bars``: ΔT of each row and task; ``time``: also over what inference takes.
        published: What the paper printed; None where its figures cannot stand beside ours.
        note: A sentence for the reader of the table.
    """

    name: str
    about: str
    source: str
    tasks: Mapping[str, tuple[str, ...]]
    least: int
    rows: tuple[Variant, ...]
    options: Mapping[str, tuple[str, ...]]
    densities: tuple[float, ...]
    combinations: bool
    single: bool
    same: tuple[str, ...]
    columns: tuple[str, ...]
    against: str
    picture: str
    published: Published | None
    note: str

    def needs(self, data: str) -> tuple[str, ...]:
        """The tasks that a data set of this name must have."""
        return self.tasks.get(data, self.tasks.get("", ()))


def find_study(name: str) -> Study:
    """The study called ``name``.

    Raises:
        ValueError: If there is none; names the nearest.
    """
    return _study(name, read(study_path(name)))


def _study(name: str, content: Mapping[str, Any]) -> Study:
    published = content.get("published")
    return Study(
        name,
        content["about"],
        content["source"],
        _tasks(content.get("tasks", ())),
        content.get("least", 1),
        tuple(_row(row, settings or {}) for row, settings in content["rows"].items()),
        {data: tuple(_words(given)) for data, given in content.get("options", {}).items()},
        tuple(content.get("densities", ())),
        content.get("combinations", False),
        content.get("single", False),
        tuple(content.get("same", SAME)),
        tuple(content["columns"]),
        content.get("against", ""),
        content.get("picture", ""),
        _published(published) if published else None,
        content.get("note", ""),
    )


def only(study: Study, rows: Sequence[str]) -> Study:
    """The study with some of its rows: those asked, and the one that ΔT refers to.

    Raises:
        ValueError: If it has no such row; names the nearest.
    """
    known = [row.name for row in study.rows]
    for name in rows:
        if name not in known:
            raise ValueError(
                f"study {study.name} has no row {name!r}; its rows are {', '.join(known)}.{nearest(name, known)}"
            )
    reference = next((row.name for row in study.rows if row.reference), known[0])
    return replace(study, rows=tuple(row for row in study.rows if row.name in (reference, *rows)))


def _tasks(said: Any) -> dict[str, tuple[str, ...]]:
    by_data = said if isinstance(said, Mapping) else {"": said}
    return {str(data): tuple(tasks) for data, tasks in by_data.items()}


def _row(name: str, settings: Mapping[str, Any]) -> Variant:
    recipe, reference = settings.get("recipe", name), settings.get("reference", False)
    options = {key: value for key, value in settings.items() if key not in ("recipe", "reference")}
    return Variant(name, recipe, tuple(_words(options)), reference)


def _words(options: Mapping[str, Any]) -> list[str]:
    """Options as a command line has them."""
    return [f"--{key}={_written(value)}" for key, value in options.items()]


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)


def _published(content: Mapping[str, Any]) -> Published:
    """Of ``columns`` and rows of figures, which ``scale`` takes to the units of ours."""
    columns, scale = content["columns"], content.get("scale") or [1] * len(content["columns"])
    values = {
        row: {c: round(f * s, 6) for c, f, s in zip(columns, figures, scale, strict=True) if f is not None}
        for row, figures in content["rows"].items()
    }
    return Published(
        content["data"],
        content.get("settings", {}),
        content.get("where", {}),
        values,
        content.get("note", ""),
    )
