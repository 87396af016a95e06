"""The shell completes verbs, recipes, options and names of parts."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from secateur.cli import main
from secateur.cli.main import VERBS
from secateur.runs.config import recipes

TRY = """
source {script}
try() {{ COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _secateur; echo "${{COMPREPLY[@]}}"; }}
try secateur tra; try secateur train adapmtl_pa; try secateur train dense --method.den; try secateur train x --data ny
try secateur export x --for; try secateur export x --format open; try secateur compare x --comb
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_completes(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "script"
    script.write_text(capsys.readouterr().out)
    done = subprocess.run(
        ["bash", "--norc", "-c", TRY.format(script=script)], capture_output=True, text=True, check=True
    )
    assert not done.stderr
    assert done.stdout.splitlines() == [
        "train",
        "adapmtl_paper",
        "--method.density",
        "nyuv2",
        "--format",
        "openvino",
        "--combinations",
    ]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_knows_every_verb_and_recipe(shell: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["completion", shell]) == 0
    words = capsys.readouterr().out.replace("'", " ").replace('"', " ").split()
    assert set(VERBS) <= set(words)
    assert set(recipes()) <= set(words)
    assert {"--weighting.window", "--data.root", "--repeats", "--device"} <= set(words)
