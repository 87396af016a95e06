"""What a run cost each task: a page to show a colleague, and a table for the terminal."""

from secateur.report.page import report
from secateur.report.read import RunRecord, read_run
from secateur.report.terminal import results_table

__all__ = ["RunRecord", "read_run", "report", "results_table"]
