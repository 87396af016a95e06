"""Methods side by side: a grid of runs, trained once each, and one table of what came out."""

from secateur.runs.study.cells import Cell, grid
from secateur.runs.study.compare import compare
from secateur.runs.study.results import Arm, Column, Results, collect
from secateur.runs.study.table import marks_on, note, terminal

__all__ = [
    "Arm",
    "Cell",
    "Column",
    "Results",
    "collect",
    "compare",
    "grid",
    "marks_on",
    "note",
    "terminal",
]
