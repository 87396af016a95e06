"""Parts of the user's own that lie in the working folder."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
import yaml

from secateur.runs.names import Trust, find


def test_what_lies_in_the_working_folder_is_found_and_takes_nobodys_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    net = "import torch\nclass Net(torch.nn.Linear):\n    pass\n"
    (tmp_path / "lies_here.py").write_text(net)
    (tmp_path / "yaml.py").write_text("raise SystemExit('ran')\n")
    try:
        assert find("model", "lies_here.Net", Trust(packages=frozenset({"lies_here"}))).__name__ == "Net"
        assert sys.path[-1] == str(tmp_path)
        assert importlib.reload(yaml).safe_load("1") == 1
    finally:
        sys.modules.pop("lies_here", None)
