"""Methods side by side: a grid of runs, trained once each, and one table of what came out."""

from secateur.study.cells import Cell, grid
from secateur.study.compare import compare
from secateur.study.results import Arm, Column, Results, collect

__all__ = ["Arm", "Cell", "Column", "Results", "collect", "compare", "grid"]
