"""Runs as a job array of Slurm: a script with a run a line, which is submitted by whoever reads it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from secateur.problem import check_count
from secateur.runs.folder import RunFolder
from secateur.runs.study.cells import Cell
from secateur.runs.study.places import Need, Where, devices_of, threads_of
from secateur.runs.study.running import check_folders, references
from secateur.storage import write_text

SCRIPT = "slurm.sh"
_SUBMIT = "# Submit: "


def job_array(
    cells: Sequence[Cell], out: Path, where: Where, *, jobs: int | None = None, workers: int = 0
) -> str | None:
    """The script for what is not finished yet, which is ``slurm.sh`` in ``out`` too; None where everything is.

    Nothing is trained. Where runs look at their dense reference, the references come first, and a comment says how to submit
    the script so that the others wait for them.

    Args:
        cells: Of :func:`secateur.runs.study.grid`.
        out: Folder of the comparison, which all machines see.
        where: What a run takes.
        jobs: Runs at a time at most.
        workers: Processes that load data, a run.

    Raises:
        ValueError: If ``jobs`` is no count, a folder holds a run of another configuration, or a path cannot be written into a script.
        OSError: If ``out`` cannot be written.
    """
    if jobs is not None:
        check_count("--jobs", jobs, remedy="give how many runs at a time")
    check_folders(cells, out)
    left = [cell for cell in cells if not RunFolder(out / cell.name).finished]
    if not left:
        return None
    waited = {other.name for cell in left for other in references(cell, cells)}
    left.sort(key=lambda cell: cell.name not in waited)
    first = sum(cell.name in waited for cell in left)
    runs = [cell.arguments for cell in left]
    need = where.need(workers, runs, lambda device: device.startswith("cuda"))
    threads = threads_of(need, workers, devices_of(runs))
    lines = ["#!/bin/bash", *_asked(out, need, len(left), jobs), *_submitted(out, first, len(left), jobs)]
    lines += [
        "set -u",
        f"cd {_word(str(Path.cwd()))} || exit 1",
        f'export OMP_NUM_THREADS="${{OMP_NUM_THREADS:-{threads}}}"',
        'case "${SLURM_ARRAY_TASK_ID:?sbatch sets it, for each run of the array}" in',
        *(f"{at}) {_command(cell, out, workers)} ;;" for at, cell in enumerate(left)),
        f'*) echo "no run $SLURM_ARRAY_TASK_ID: there are {len(left)}" >&2; exit 2 ;;',
        "esac",
    ]
    text = "\n".join(lines) + "\n"
    (out / "logs").mkdir(parents=True, exist_ok=True)
    write_text(out / SCRIPT, text)
    return text


def submission(script: str, out: Path) -> str:
    """The command that submits a script of :func:`job_array`."""
    said = [line for line in script.splitlines() if line.startswith(_SUBMIT)]
    return said[0].removeprefix(_SUBMIT) if said else f"sbatch {shlex.quote(str(out / SCRIPT))}"


def _asked(out: Path, need: Need, count: int, jobs: int | None) -> list[str]:
    """What Slurm reads: a job a run, which goes on where another machine takes it over."""
    name = "".join(c if c.isalnum() or c in "-_." else "-" for c in out.resolve().name)
    asked = {
        "job-name": name or "secateur",
        "array": _indices(0, count, jobs),
        "ntasks": "1",
        "cpus-per-task": str(need.cpus),
        **({"gpus-per-task": f"{need.gpus:g}"} if need.gpus else {}),
        **({"mem": f"{-(-need.memory // 2**20)}M"} if need.memory else {}),
        "output": "/dev/null",  # what a run says goes to its own log
    }
    return [*(f"#SBATCH --{name}={value}" for name, value in asked.items()), "#SBATCH --requeue"]


def _submitted(out: Path, first: int, count: int, jobs: int | None) -> list[str]:
    """How it is submitted where the ``first`` runs are references of others."""
    if not 0 < first < count:
        return []
    script = shlex.quote(str(out / SCRIPT))
    references = f"sbatch --parsable --array={_indices(0, first, jobs)} {script}"
    others = f"--array={_indices(first, count, jobs)} {script}"
    return [f"{_SUBMIT}sbatch --dependency=afterok:$({references}) {others}"]


def _indices(begin: int, end: int, jobs: int | None) -> str:
    return f"{begin}-{end - 1}" + (f"%{jobs}" if jobs else "")


def _command(cell: Cell, out: Path, workers: int) -> str:
    words = ["secateur", "train", *cell.arguments, "--out", str(out / cell.name), f"--workers={workers}"]
    log = out / "logs" / f"{cell.name}.txt"
    return f"{' '.join(map(_word, words))} > {_word(str(log))} 2>&1"


def _word(text: str) -> str:
    """As a shell reads it, on one line.

    Raises:
        ValueError: If it has a line break.
    """
    if "\n" in text or "\r" in text:
        raise ValueError(f"--on slurm: {text!r} has a line break, and a run is a line of the script.")
    return shlex.quote(text)
