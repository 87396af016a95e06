"""One run from configuration to folder; many runs (study) and the page about them (report)."""

from secateur.runs.config import digest, parse, parse_size, part, resolved, spelt_out
from secateur.runs.deploy import bench_runs, compact_run, export_run
from secateur.runs.folder import RunFolder
from secateur.runs.run import evaluate_run, overlap_run, train

__all__ = [
    "RunFolder",
    "bench_runs",
    "compact_run",
    "digest",
    "evaluate_run",
    "export_run",
    "overlap_run",
    "parse",
    "parse_size",
    "part",
    "resolved",
    "spelt_out",
    "train",
]
