"""What native code writes of its own work is not shown, and nothing else is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from secateur import export
from secateur.deployment.engines import EngineMissingError
from secateur.deployment.engines.unheard import unheard


def test_other_lines_are_shown_once_the_block_ends(capfd: pytest.CaptureFixture[str]) -> None:
    with unheard(b"[noise"):
        os.write(2, b"[noise.cpp:1] of no use\na word\n")
    with pytest.raises(KeyError), unheard(b"[noise"):
        raise KeyError(os.write(2, b"another\n"))
    os.write(2, b"[noise.cpp:1] outside\n")
    assert capfd.readouterr().err == "a word\nanother\n[noise.cpp:1] outside\n"


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"a": self.layer(x)}


@pytest.mark.slow
def test_executorch_says_nothing_of_cores_and_threads(tmp_path: Path) -> None:
    try:
        path = export(Net().eval(), torch.rand(1, 3, 8, 8), tmp_path / "net.pte")
    except EngineMissingError as error:
        pytest.skip(str(error))
    told = f"from secateur.deployment.engines import load_engine as load; load({str(path)!r}, threads=1)"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stderr == ""
