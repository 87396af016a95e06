"""What a run cost each task: a page to show a colleague, and a table for the terminal."""

from secateur.runs.report.floors import sentence
from secateur.runs.report.formats import MISSING, count, decimals, listing, percent, points, spread
from secateur.runs.report.overlap import overlap_table
from secateur.runs.report.page import report
from secateur.runs.report.read import RunRecord, read_run
from secateur.runs.report.svg import MUTED, RULE, SERIES, end_labels, new_figure, standalone, to_svg
from secateur.runs.report.templates import template
from secateur.runs.report.terminal import results_table

__all__ = [
    "MISSING",
    "MUTED",
    "RULE",
    "SERIES",
    "RunRecord",
    "count",
    "decimals",
    "end_labels",
    "listing",
    "new_figure",
    "overlap_table",
    "percent",
    "points",
    "read_run",
    "report",
    "results_table",
    "sentence",
    "spread",
    "standalone",
    "template",
    "to_svg",
]
