"""Runs in, one self-contained HTML file out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from secateur.runs.report import plots, tables
from secateur.runs.report.compare import Comparison, Group, compare
from secateur.runs.report.deployed import Chapter, chapter
from secateur.runs.report.differing import differing
from secateur.runs.report.floors import FloorTable, floor_table
from secateur.runs.report.formats import duration, whole
from secateur.runs.report.overlap import OverlapTable, overlap_table
from secateur.runs.report.pictures import Sheet, sheets
from secateur.runs.report.read import read_run
from secateur.runs.report.record import RunRecord
from secateur.runs.report.templates import template
from secateur.storage import write_text

_HERE = Path(__file__).parent
_CHARTS: tuple[tuple[str, str, Callable[[RunRecord, str], str]], ...] = (
    ("densities", "Density of each component", plots.densities),
    ("thresholds", "Pruning thresholds", plots.thresholds),
    ("losses", "Training loss of each task", plots.losses),
    ("weights", "Weight of each task’s loss", plots.loss_weights),
)


@dataclass(frozen=True)
class Figure:
    """A drawing and what stands above it."""

    caption: str
    svg: Markup


@dataclass(frozen=True)
class RunView:
    """One run as the page lays it out."""

    anchor: str
    name: str
    record: RunRecord
    about: str
    expanded: bool
    deltas: tuple[tables.Cell, ...]
    shares: tuple[tables.Share, ...]
    charts: tuple[Figure, ...]
    layers: Figure | None
    sheets: tuple[Sheet, ...]
    floors: FloorTable | None
    overlap: OverlapTable | None
    deployed: Chapter | None
    differing: tuple[tuple[str, str, str], ...]
    facts: tuple[tuple[str, str], ...]


def report(folders: Sequence[Path], out: Path) -> Path:
    """Writes a page about finished runs to ``out`` and returns that path.

    The first run is the reference if it is dense, otherwise the first dense one among ``folders``. Runs that
    differ in nothing but seed are shown together as mean ± sd. The file appears whole or not at all.

    Raises:
        FileNotFoundError: If a folder, or a file that a finished run has, is missing.
        ValueError: If a file cannot be understood, or the runs have different tasks.
        IsADirectoryError: If ``out`` is a folder.
    """
    if out.is_dir():
        raise IsADirectoryError(
            f"report: out={out} is a folder; give the name of a file, such as {out / 'report.html'}."
        )
    write_text(out, render([read_run(folder) for folder in folders]))
    return out


def render(records: Sequence[RunRecord]) -> str:
    """The page as HTML text."""
    comparison = compare(records)
    return template(_HERE / "template.html.j2").render(
        title=" · ".join(group.label for group in comparison.groups),
        style=Markup((_HERE / "style.css").read_text(encoding="utf-8")),
        headline=tables.headline(comparison),
        subline=tables.subline(comparison),
        notices=comparison.notices,
        reference=comparison.reference,
        overviews=tables.overviews(comparison),
        costs=tables.costs(comparison),
        runs=_views(comparison),
    )


def _views(comparison: Comparison) -> list[RunView]:
    """Pruned runs before dense ones; the first run of each pruned group is unfolded."""
    groups = sorted(comparison.groups, key=lambda group: group.first.dense)
    views: list[RunView] = []
    for group in groups:
        for record in group.records:
            expanded = record is group.first and (not record.dense or group is groups[0])
            views.append(_view(comparison, group, record, f"run-{len(views) + 1}", expanded))
    return views


def _view(comparison: Comparison, group: Group, record: RunRecord, anchor: str, expanded: bool) -> RunView:
    drawn = [(caption, draw(record, f"{anchor}-{slug}")) for slug, caption, draw in _CHARTS]
    layers = plots.layer_densities(record, f"{anchor}-layers")
    reference = comparison.reference.first if comparison.reference is not None else None
    alone = Group(record.name, (record,))
    return RunView(
        anchor=anchor,
        name=group.label if len(group.records) == 1 else f"{group.label}, seed {record.seed}",
        record=record,
        about=tables.about(alone),
        expanded=expanded,
        deltas=() if group is comparison.reference else tables.task_deltas(comparison, alone),
        shares=tables.shares(record),
        charts=tuple(Figure(caption, Markup(svg)) for caption, svg in drawn if svg),
        layers=Figure("Density of each layer over time", Markup(layers)) if layers else None,
        sheets=tuple(sheets(record, reference)),
        floors=floor_table(record.floors),
        overlap=overlap_table(record.overlap),
        deployed=chapter(record.folder, plots.page_colours(record), record.config),
        differing=differing(record, reference),
        facts=_facts(record),
    )


def _facts(record: RunRecord) -> tuple[tuple[str, str], ...]:
    return (
        ("Method", record.method),
        ("Weighting", record.weighting),
        ("Seed", str(record.seed)),
        ("Steps", whole(record.steps)),
        (
            "Wall time of training",
            f"{duration(record.train_seconds)}, beside whatever else ran on that machine",
        ),
        ("Hardware", record.hardware),
        ("Versions", ", ".join(f"{package} {version}" for package, version in record.versions.items())),
        ("Folder", str(record.folder)),
    )
