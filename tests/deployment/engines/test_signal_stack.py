"""OpenVINO leaves this thread's signal stack as it found it: a child may end afterwards under a signal handler."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import numpy as np
import torch
from torch import nn

from secateur import export
from secateur.deployment.engines import load_engine


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)

    def forward(self, x: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"a": self.a(x["a"]), "b": self.b(x["b"])}


def test_a_child_may_end_after_openvino_ran(tmp_path: Path) -> None:
    ended: list[int] = []
    before = signal.signal(signal.SIGCHLD, lambda number, _: ended.append(number))
    x = {"a": torch.randn(1, 3, 8, 8), "b": torch.randn(1, 3, 8, 8)}
    try:
        path = export(TwoInputs(), x, tmp_path / "net.xml")
        for _ in range(3):
            engine = load_engine(path)
            engine({task: np.asarray(value) for task, value in x.items()})
            subprocess.run(["sleep", "0.05"], check=True)
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert ended
