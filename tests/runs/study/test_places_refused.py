"""What is asked of a cluster and cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from processes.cluster import RUNS
from secateur.cli import main


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--on", "rya"], "Did you mean ray?"),
        (["--cell-cpus", "2"], "add --on ray or --on slurm"),
        (["--on=ray", "--cell_cpus", "0"], "takes at least 1"),
        (["--on=ray", "--cell-gpus=1.5"], "--cell-gpus is 1.5"),
        (["--on=ray", "--cell-gpus=-1"], "--cell-gpus is -1"),
        (["--on=slurm", "--cell-gpus=0.5"], "Slurm gives whole ones"),
        (["--on=ray", "--cell-memory=much"], "write it as 8GB"),
        (["--on=ray", "--cell-memory=0"], "--cell-memory is 0"),
        (["--on=slurm", "--jobs=-2"], "--jobs is -2"),
        (["--cell-cpu=2", "--on=ray"], "Did you mean --cell-cpus?"),
    ],
)
@pytest.mark.parametrize("verb", [["compare", "dense"], ["study", "table1"]])
def test_what_cannot_be_is_said_and_nothing_made(
    verb: list[str], words: list[str], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*verb, *words, *RUNS, "--out", str(tmp_path / "out")])
    assert ended.value.code == 2
    assert why in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()
