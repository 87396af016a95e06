"""The job array: bash reads it, each of its runs is the very one, and the same line collects them."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from processes.cluster import RUNS, figures
from processes.forked import FORKS
from secateur.cli import main
from secateur.runs.folder import RunFolder
from secateur.runs.study import Where, grid, job_array, running

ASKED = ["compare", "magnitude", "--density", "0.5", "0.25", *RUNS, "--steps=2"]
REAL = f'exec {shlex.quote(sys.executable)} -m secateur "$@"'


def bash(
    script: Path, *, index: int | None, folder: Path, secateur: str = REAL
) -> subprocess.CompletedProcess[str]:
    """Runs a script as Slurm does, with a command ``secateur`` that is this one, or does something else."""
    (folder / "bin").mkdir(exist_ok=True)
    command = folder / "bin" / "secateur"
    command.write_text(f"#!/bin/sh\n{secateur}\n", encoding="utf-8")
    command.chmod(0o755)
    environment = {**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}"}
    environment |= {} if index is None else {"SLURM_ARRAY_TASK_ID": str(index)}
    words = ["bash", str(script)]
    return subprocess.run(words, env=environment, cwd="/", capture_output=True, text=True, check=False)


def test_a_run_a_line_and_the_same_command_collects(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    where = tmp_path / "it's a folder"
    where.mkdir()
    monkeypatch.chdir(where)
    words = ["compare", "magnitude", "--density", "0.5", *RUNS, "--steps=2"]
    asked = [*words, "--out", "out"]
    assert main([*asked, "--on", "slurm", "--jobs", "4", "--cell-cpus=2", "--cell_memory=1.5GB"]) == 0
    told = capsys.readouterr()
    script = where / "out" / "slurm.sh"
    assert told.out == script.read_text(encoding="utf-8")
    assert "submit  sbatch out/slurm.sh" in told.err
    assert {path.name for path in (where / "out").iterdir()} == {"slurm.sh", "logs"}, "nothing was trained"
    subprocess.run(["bash", "-n", str(script)], check=True)
    head = [line for line in told.out.splitlines() if line.startswith("#SBATCH")]
    assert {"#SBATCH --array=0-1%4", "#SBATCH --cpus-per-task=2", "#SBATCH --mem=1536M"} <= {*head}
    assert told.out.splitlines()[1 : 1 + len(head)] == head, "Slurm stops reading at the first command"
    lines = re.findall(r"^(\d+)\) secateur (train .*) > .* 2>&1 ;;$", told.out, re.MULTILINE)
    assert [int(index) for index, _ in lines] == [0, 1]

    done = bash(script, index=1, folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    name = "magnitude-d0.5-depth+edge-s0"
    assert RunFolder(where / "out" / name).finished
    assert "report" in (where / "out" / "logs" / f"{name}.txt").read_text(encoding="utf-8")
    assert bash(script, index=2, folder=tmp_path).returncode == 2
    assert "sbatch sets it" in bash(script, index=None, folder=tmp_path).stderr

    assert main([*asked, "--on", "slurm"]) == 0
    left = capsys.readouterr().out
    assert "#SBATCH --array=0-0\n" in left
    assert name not in left, "what is finished is not asked again"
    for _, line in lines:
        assert main(shlex.split(line)) == 0
    capsys.readouterr()
    assert main([*asked, "--on", "slurm"]) == 0
    assert "table  out/table.html" in capsys.readouterr().out
    monkeypatch.setattr(running, "subprocess", FORKS)
    assert main([*words, "--out", "straight"]) == 0
    assert figures(where / "out") == figures(where / "straight")


def test_a_run_that_fails_ends_with_its_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main([*ASKED, "--on=slurm", "--out", str(out)]) == 0
    capsys.readouterr()
    broken = bash(out / "slurm.sh", index=0, folder=tmp_path, secateur='echo "error: $1" >&2; exit 3')
    assert (broken.returncode, broken.stderr) == (3, "")
    assert (out / "logs" / "dense-depth+edge-s0.txt").read_text(encoding="utf-8") == "error: train\n"


def test_references_go_first_where_runs_look_at_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    floors = ["--floors={depth: 0.1}", "--validate_every=1", "--seeds=2", "--jobs=3", "--device=cuda"]
    assert main([*ASKED, *floors, "--on=slurm", "--out", str(out)]) == 0
    told = capsys.readouterr()
    script = out / "slurm.sh"
    line = f"sbatch --dependency=afterok:$(sbatch --parsable --array=0-1%3 {script}) --array=2-5%3 {script}"
    assert f"# Submit: {line}" in told.out
    assert f"submit  {line}" in told.err
    assert "#SBATCH --gpus-per-task=1" in told.out
    first = re.findall(r"^[01]\) secateur train (\w+)", told.out, re.MULTILINE)
    assert first == ["dense", "dense"]
    subprocess.run(["bash", "-n"], input=told.out, text=True, check=True)


def test_a_study_is_an_array_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    asked = ["study", "weightings", "--rows", "adapmtl", *RUNS, "--steps=2", "--out", str(out)]
    assert main([*asked, "--on=slurm"]) == 0
    told = capsys.readouterr().out
    subprocess.run(["bash", "-n"], input=told, text=True, check=True)
    count = len(re.findall(r"^\d+\) secateur train ", told, re.MULTILINE))
    assert count
    assert f"#SBATCH --array=0-{count - 1}\n" in told
    claim = json.loads((out / "study.claim.json").read_text(encoding="utf-8"))
    assert claim["study"] == "weightings"
    assert {path.name for path in out.iterdir()} == {"study.claim.json", "slurm.sh", "logs"}


def test_what_a_script_cannot_say_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a\nb"
    assert main([*ASKED, "--on=slurm", "--out", str(out)]) == 1
    assert "line break" in capsys.readouterr().err
    assert not out.exists()
    other = tmp_path / "out"
    assert main([*ASKED, "--on=slurm", "--out", str(other), "--workers=1"]) == 0
    assert "#SBATCH --cpus-per-task=2" in capsys.readouterr().out
    RunFolder(other / "dense-depth+edge-s0").claim({"steps": 1})
    assert main([*ASKED, "--on=slurm", "--out", str(other)]) == 1
    assert "another configuration" in capsys.readouterr().err


def test_a_value_that_is_swept_is_on_the_line_of_its_run(tmp_path: Path) -> None:
    cells = grid(["dense"], [*RUNS, "--steps=2"], over=["betas=[0.9,0.99],[0.5,0.9]"], seeds=[7])
    script = job_array(cells, tmp_path, Where("slurm"))
    assert script is not None
    lines = [
        shlex.split(line.partition(") ")[2]) for line in script.splitlines() if re.match(r"\d+\) ", line)
    ]
    assert [line[line.index("--seed=7") - 1] for line in lines] == ["--betas=[0.9,0.99]", "--betas=[0.5,0.9]"]
    assert len({line[line.index("--out") + 1] for line in lines}) == 2
