"""The dense run that a run is compared with: given, or found beside it."""

from __future__ import annotations

from typing import Any

from secateur.measures import delta_t
from secateur.runs.config import Config, telling
from secateur.runs.folder import RunFolder, differences

Report = dict[str, Any]


def given(folder: RunFolder, config: Config) -> Report:
    """The report of the run that ``--against`` names.

    Raises:
        ValueError: If it is not finished, or was evaluated on other data than ``config`` says.
    """
    report = folder.read_report()
    if report is None:
        raise ValueError(
            f"--against {folder.path}: no finished run there; train it first: secateur train dense --out {folder.path} ..."
        )
    held, asked = telling(folder.read_config()), telling(config)
    told = [text for key in ("data", "size") for text in differences(held.get(key), asked[key], key)]
    if told:
        raise ValueError(
            f"--against {folder.path}: a run of other data ({'; '.join(told[:4])}); differences to it would mean nothing."
        )
    return {**report, "folder": str(folder.path)}


def neighbour(folder: RunFolder, config: Config) -> Report | None:
    """A finished dense run beside this one, of the same data, model, training length and seed."""
    same = ("data", "model", "size", "batch", "steps", "seed")
    asked, parent = telling(config), folder.path.resolve().parent
    for other in sorted(parent.iterdir()) if parent.is_dir() else ():
        neighbour = RunFolder(other)
        if not (neighbour.config.is_file() and neighbour.report.is_file()):
            continue
        try:
            held, report = telling(neighbour.read_config()), neighbour.read_report()
        except ValueError:  # damaged, so no run that is finished
            continue
        if report and report["dense"] and all(held.get(key) == asked[key] for key in same):
            return {**report, "folder": str(folder.path.parent / other.name)}
    return None


def compared(report: Report, reference: Report | None) -> dict[str, Any]:
    """ΔT against the dense reference; a dense run is its own, and without one there are no figures."""
    if reference is None and not report["dense"]:
        return {"mean": None, "sum": None, "tasks": {}, "against": None}
    dense = reference or {**report, "folder": "itself"}
    better = report["higher_is_better"]
    if any(not value for metrics in dense["tasks"].values() for value in metrics.values()):
        # a dense network that scores nothing, or nan, somewhere: a relative difference to it has no meaning
        return {"mean": None, "sum": None, "tasks": {}, "against": dense["folder"]}
    mean = delta_t(report["tasks"], dense["tasks"], better)
    total = delta_t(report["tasks"], dense["tasks"], better, reduce="sum")
    return {"mean": mean.overall, "sum": total.overall, "tasks": mean.tasks, "against": dense["folder"]}
