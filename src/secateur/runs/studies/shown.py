"""A study's results as the paper's table has them: rows in its order, published figures beside ours, and the tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from secateur.measures import LEVEL, corrected, p_value, stat
from secateur.runs.report import MISSING, decimals, percent, points, spread
from secateur.runs.studies.study import Published, Study
from secateur.runs.study import Arm, Cell, Column, Results, caveats, text, with_columns

_DELTA = Column("ΔT", "mean", "higher", "points")
_ARROWS = {"higher": " ↑", "lower": " ↓", "": ""}
_ENOUGH = 2  # seeds, or a paired test has nothing to go by


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Args:
        name: With density and tasks where these differ within the table.
        arm: Its runs.
        cells: Column to ours as text.
        published: Column to the published figure as text.
        p: Of the test against the study's own row, corrected; None where there is none.
    """

    name: str
    arm: Arm
    cells: Mapping[str, str]
    published: Mapping[str, str]
    p: float | None


@dataclass(frozen=True)
class Shown:
    """The table.

    Args:
        study: Of which.
        columns: In order, each with its heading.
        rows: In order.
        tested: A column of p values belongs to it.
        notes: Sentences below it.
        values: Row to column to the published figure.
        times: Engine to row to milliseconds.
    """

    study: Study
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    tested: bool
    notes: tuple[str, ...]
    values: Mapping[str, Mapping[str, float]]
    times: Mapping[str, Mapping[str, float]] = field(default_factory=dict[str, Mapping[str, float]])

    def head(self, column: Column) -> str:
        """The heading of a column."""
        return f"{column.group} {column.name}{_ARROWS[column.better]}"

    def has_published(self, column: Column) -> bool:
        """Whether any published figure stands in it."""
        return any(key_of(column) in row.published for row in self.rows)


def key_of(column: Column) -> str:
    """A column as the files of studies name it."""
    return f"{column.group} {column.name}"


def shown(
    study: Study,
    results: Results,
    cells: Sequence[Cell],
    times: Mapping[str, Mapping[str, float]] | None = None,
    columns: Sequence[str] = (),
) -> Shown:
    """What is finished of a study, as its table.

    Args:
        study: Which.
        results: Of its runs.
        cells: All of them.
        times: Engine to folder of a run to milliseconds, where they were timed.
        columns: Those shown, in order; the study's own if empty.
    """
    config = cells[0].config
    published, beside = _beside(study.published, config)
    arms = _ordered(study, results)
    names = {id(arm): _name(arm, results) for arm in arms}
    chosen = with_columns(results, columns).columns if columns else tuple(_columns(study, results))
    tests = _tests(study, results)
    rows = tuple(
        Row(
            names[id(arm)],
            arm,
            {key_of(c): text(arm, c, results) for c in chosen},
            {
                key_of(c): _written(c, value, results)
                for c in chosen
                if (value := published.get(names[id(arm)], {}).get(key_of(c))) is not None
            },
            tests.get(id(arm)),
        )
        for arm in arms
    )
    said = [_about(study, results), *caveats(results), *_testing(study, results, tests)]
    notes = [*said, *beside, study.note]
    timed = {engine: _by_row(found, cells, rows) for engine, found in (times or {}).items()}
    return Shown(study, chosen, rows, bool(tests), tuple(filter(None, notes)), published, timed)


def _by_row(found: Mapping[str, float], cells: Sequence[Cell], rows: Sequence[Row]) -> dict[str, float]:
    runs = {(c.recipe, c.density, c.tasks): found[c.name] for c in cells if c.name in found}
    keys = {row.name: (row.arm.recipe, row.arm.density, row.arm.tasks) for row in rows}
    return {name: runs[key] for name, key in keys.items() if key in runs}


def _ordered(study: Study, results: Results) -> list[Arm]:
    place = {row.name: number for number, row in enumerate(study.rows)}
    return sorted(
        results.arms,
        key=lambda a: (
            -len(a.tasks),
            a.tasks,
            a.density is not None,
            -(a.density or 2),
            place.get(a.recipe, -1),
        ),
    )


def _name(arm: Arm, results: Results) -> str:
    parts = [arm.recipe]
    if arm.density is not None and len({a.density for a in results.arms if a.density is not None}) > 1:
        parts.append(f"{arm.density:g}")
    if len({a.tasks for a in results.arms}) > 1:
        parts.append("+".join(arm.tasks))
    return " ".join(parts)


def _columns(study: Study, results: Results) -> list[Column]:
    by_key = {key_of(column): column for column in results.columns}
    tasks = dict.fromkeys(task for arm in results.arms for task in arm.tasks)
    asked: list[str] = []
    for name in study.columns:
        asked += [f"ΔT {task}" for task in tasks] if name == "ΔT each" else [name]
    return [by_key[name] for name in asked if name in by_key]


def _written(column: Column, value: float, results: Results) -> str:
    if column.unit == "points":
        return points(value)
    if column.unit == "percent":
        return percent(value)
    means = (stat(a.values[column].values()).mean for a in results.arms if a.values.get(column))
    return spread(value, None, decimals([*means, value]))


def _tests(study: Study, results: Results) -> dict[int, float | None]:
    """P value of each rival of the study's own row at its density and tasks, corrected for how many they are."""
    found: dict[int, float | None] = {}
    for own in (arm for arm in results.arms if arm.recipe == study.against):
        rivals = {
            str(id(a)): a
            for a in results.arms
            if a is not own and (a.density, a.tasks) == (own.density, own.tasks) and any(a.values.get(_DELTA, {}).values())
        }  # fmt: skip
        values = {
            name: p_value(a.values.get(_DELTA, {}), own.values.get(_DELTA, {})) for name, a in rivals.items()
        }
        found |= {int(name): value for name, value in corrected(values).items()}
    return found


def _about(study: Study, results: Results) -> str:
    reference = next((row.name for row in study.rows if row.reference), "dense")
    dense = [arm.recipe for arm in results.arms if arm.dense]
    reference = reference if reference in dense else dense[0] if dense else reference
    seeds = max((len(arm.seeds) for arm in results.arms), default=0)
    spread_said = f" ± is the standard deviation over seeds, of ΔT half the {LEVEL:.0%} confidence interval (Student's t)."
    return (
        f"{study.source}. ↑ higher is better, ↓ lower is better. ΔT in percent against {reference} of the same seed and tasks."
        f"{spread_said if seeds > 1 else ''}"
    )


def _testing(study: Study, results: Results, tests: Mapping[int, float | None]) -> list[str]:
    if not study.against:
        return []
    seeds = [len(arm.seeds) for arm in results.arms if arm.recipe == study.against or id(arm) in tests]
    lacking = "a paired t-test needs two seeds at least, and few differences show with fewer than six"
    if max(seeds, default=0) < _ENOUGH:
        return [f"One seed, so no test and no p value: {lacking} (--seeds 6)."]
    if all(p is None for p in tests.values()):
        return [
            "No p value: ΔT is not known, as a metric of the reference is zero or NaN, or no two runs have a seed in common."
        ]
    said = [
        f"p: paired t-test of ΔT mean against {study.against} over the seeds in common, corrected by Holm for the rivals of one density."
    ]
    if any(p is None for p in tests.values()):
        said.append(f"{MISSING}: ΔT is not known, or there are too few seeds; {lacking}.")
    elif min(seeds) < 3:
        said.append("Two seeds: hardly any difference shows in a test of two.")
    return said


def _beside(
    published: Published | None, config: Mapping[str, Any]
) -> tuple[Mapping[str, Mapping[str, float]], list[str]]:
    """The published figures where they are of these data, and sentences on why they may differ."""
    if published is None:
        return {}, []
    data = config["data"]["name"]
    if data != published.data:
        return {}, [
            f"Published figures are of {published.data} and these runs of {data}, so they do not stand beside."
        ]
    differ = [
        f"{key} {_found(config, key)} (published {value})"
        for key, value in published.settings.items()
        if str(_found(config, key)) != str(value)
    ]
    said = [f"Ours are made otherwise than the published: {', '.join(differ)}."] if differ else []
    apart = {
        task: needed
        for task, needed in published.where.items()
        if any(str(_found(config, k)) != str(v) for k, v in needed.items())
    }
    said += [
        f"Published metrics of {task} mean something else, so they stand beside with {' '.join(f'--{k} {v}' for k, v in needed.items())} alone."
        for task, needed in apart.items()
    ]
    values = {
        row: {column: value for column, value in figures.items() if column.partition(" ")[0] not in apart}
        for row, figures in published.values.items()
    }
    return values, [*said, " ".join(published.note.split())]


def _found(config: Mapping[str, Any], key: str) -> Any:
    value: Any = config
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return "the data set's own" if value is None else value
