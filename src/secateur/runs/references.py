"""The dense run that a run is compared with: given, or found beside it where all but the method is the same."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from math import isclose
from pathlib import Path
from typing import Any

from secateur.measures import delta_t
from secateur.runs.config import Config, telling
from secateur.runs.folder import RunFolder, differences, no_run

Report = dict[str, Any]
_SUBJECT = ("data", "model", "size")  # of what: a run of others is no candidate
# The method, its means (what a pruned network learns from, how its density is found), and what decides no more than roundings.
_METHOD = {
    "method",
    "prune",
    "teacher",
    "distill",
    "recalibrate",
    "floors",
    "tries",
    "validate_every",
    "device",
}


def given(folder: RunFolder, config: Config, split: str = "test") -> Report:
    """The report of the run that ``--against`` names.

    Raises:
        ValueError: If it is not finished, or was evaluated on other data than ``config`` says, or on another split.
    """
    report = folder.read_report()
    if report is None:
        if folder.path.exists() and not folder.config.exists():
            raise ValueError(f"--against: {no_run(folder.path)}")
        raise ValueError(
            f"--against {folder.path}: no finished run there; train it first: secateur train dense --out {folder.path} ..."
        )
    held, asked = telling(folder.read_config()), telling(config)
    told = [text for key in ("data", "size") for text in differences(held.get(key), asked[key], key)]
    if told:
        raise ValueError(
            f"--against {folder.path}: a run of other data ({'; '.join(told[:4])}); differences to it would mean nothing."
        )
    if (held := report.get("split", "test")) != split:
        raise ValueError(
            f"--against {folder.path}: its figures are of the {held} split, these are of the {split} split; differences to them "
            f"would mean nothing: train both with --split {split}."
        )
    return {**report, "folder": str(folder.path)}


def neighbour(folder: RunFolder, config: Config, split: str = "test") -> tuple[Report | None, str]:
    """A finished dense run beside this one that differs from it in nothing but the method, with figures of the same split.

    Returns:
        Its report; where there is none, None and a sentence on what the nearest dense run of the same data and network
        differs in, empty where there is no such run either.
    """
    unfit: list[tuple[Path, list[str]]] = []
    for other in _beside(folder.path):
        neighbour = RunFolder(other)
        if not (neighbour.config.is_file() and neighbour.report.is_file()):
            continue
        try:
            held, report = neighbour.read_config(), neighbour.read_report()
        except (ValueError, OSError) as error:
            warnings.warn(
                f"Looking for a dense run to compare with: {other} is left out. {error}", stacklevel=2
            )
            continue
        if not (report and report.get("dense") and report.get("split", "test") == split):
            continue
        told = list(unlike(held, config))
        if not told:
            return {**report, "folder": str(other)}, ""
        if not any(word.startswith(_SUBJECT) for word in told):
            unfit.append((other, told))
    if not unfit:
        return None, ""
    nearest, told = min(unfit, key=lambda found: len(found[1]))
    more = f"; {len(told) - 4} more" if len(told) > 4 else ""
    return None, (
        f"No dense run beside {folder.path} has its settings; the nearest, {nearest.name}, differs: {'; '.join(told[:4])}{more}. "
        f"Train one with the same options, or name it: --against {nearest}"
    )


def found(report: Report, given: Report | None, folder: RunFolder, config: Config) -> dict[str, Any]:
    """ΔT against the reference that was given, or is found beside; ``differs`` says what is not the same, or why there is none.

    ``against`` is where the reference lies as seen from the run, so that both can be moved together; see :func:`reference_place`.
    """
    reference, differs = (given, "") if given else neighbour(folder, config, report.get("split", "test"))
    if given:
        told = list(unlike(RunFolder(Path(given["folder"])).read_config(), config))
        differs = f"The reference differs in more than the method: {'; '.join(told)}." if told else ""
    made = compared(report, reference)
    if reference:
        made["against"] = _from(folder.path, Path(reference["folder"]))
    return {**made, "differs": "" if report["dense"] and not reference else differs}


def reference_place(path: Path, report: Mapping[str, Any]) -> Path | None:
    """The folder of the reference that a run's report names, whether it is there or not; None where there is no other.

    Args:
        path: The run folder.
        report: Its ``report.json``.
    """
    against = report["delta_t"]["against"]
    if against in (None, "itself"):
        return None
    seen = [Path(os.path.normpath(own / against)) for own in (Path(os.path.realpath(path)), path.absolute())]
    if there := [place for place in seen if RunFolder(place).config.is_file()]:
        return _near(there[0])
    # Older reports have it as seen from the working folder.
    return Path(against) if _gave(Path(against), report) else _near(seen[0])


def _gave(place: Path, report: Mapping[str, Any]) -> bool:
    """Whether the run at ``place`` is the reference that the differences in ``report`` are to."""
    try:
        held = RunFolder(place).read_report()
        again = held and compared({**report}, {**held, "folder": ""})["tasks"]
        told = report["delta_t"]["tasks"]
        return (
            again is not None
            and again.keys() == told.keys()
            and all(isclose(again[t], told[t]) for t in told)
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # another run, or none
        return False


def _beside(path: Path) -> Iterator[Path]:
    """What lies beside a run folder, and beside what it is a link to."""
    own, lexical = os.path.realpath(path), Path(os.path.normpath(path.absolute())).parent
    real = Path(own).parent
    for parent in (lexical,) if os.path.realpath(lexical) == str(real) else (lexical, real):
        for other in sorted(parent.iterdir()) if parent.is_dir() else ():
            if os.path.realpath(other) != own:
                yield _near(other)


def _near(path: Path) -> Path:
    """As seen from the working folder, where it lies in it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _from(run: Path, reference: Path) -> str:
    """A folder as seen from a run folder, or what that is a link to; as it is where no path leads, such as from drive to drive."""
    try:
        # The reference's own name stays, whatever it is a link to.
        above = Path(os.path.realpath(reference.absolute().parent))
        return Path(os.path.relpath(above / reference.name, os.path.realpath(run))).as_posix()
    except ValueError:
        return str(reference.absolute())


def unlike(held: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterator[str]:
    """What two configurations differ in beside the method, in words."""
    held, asked = telling(held), telling(asked)
    for key in sorted((held.keys() | asked.keys()) - _METHOD):
        yield from differences(held.get(key), asked.get(key), key)


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
