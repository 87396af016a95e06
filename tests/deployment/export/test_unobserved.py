"""What the engines' tools would report of their use is not sent, and no identifier is left in the user's home."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from secateur.deployment.engines import unobserved

pytest.importorskip("openvino_telemetry", reason="openvino's converter has no statistics without it")

EXPORT = """
import sys, torch, openvino_telemetry.main as main
found, own = [], main.OptInChecker.check
main.OptInChecker.check = lambda self, *a, **k: found.append(own(self, *a, **k)) or found[-1]
from torch import nn
from secateur import export
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 4, 3)
    def forward(self, x):
        return {"a": self.a(x)}
x = torch.rand(1, 3, 8, 8)
export(Net(), x, sys.argv[1], **({"quantize": "int8", "calibrate": [x]} if sys.argv[2] == "int8" else {}))
assert found and all(one.name == "DECLINED" for one in found), found
"""


@pytest.mark.slow
@pytest.mark.parametrize("quantize", ["float", "int8"])
def test_nothing_is_reported(tmp_path: Path, quantize: str) -> None:
    if quantize == "int8":
        pytest.importorskip("nncf", reason="int8 of .xml needs it")
    environment = {
        k: v for k, v in os.environ.items() if k not in ("CI", "NNCF_CI", "TF_BUILD", "JENKINS_URL")
    }
    home = tmp_path / "home"
    home.mkdir()
    environment |= {"HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path)}
    said = subprocess.run(
        [sys.executable, "-c", EXPORT, str(tmp_path / "net.xml"), quantize],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert said.returncode == 0, said.stderr
    assert not [path for path in home.rglob("*") if "telemetry" in path.name.lower() or path.name == "intel"]


def test_the_environment_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "mine")
    monkeypatch.delenv("NNCF_CI", raising=False)
    seen: list[str] = []

    @unobserved()
    def fails() -> None:
        seen.append(os.environ["CI"])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert seen == ["true"]
    assert os.environ["CI"] == "mine"
    assert "NNCF_CI" not in os.environ
