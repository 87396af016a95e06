"""A stand-in of the Hub, and a run to send there."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from pathlib import Path

import pytest

from runs.hub.standing import TOKEN, Hub, standing
from tiny_runs import LITTLE, TRUST, train


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Generator[Hub]:
    constants = pytest.importorskip(
        "huggingface_hub.constants", reason="needs huggingface_hub: pip install 'secateur[hub]'"
    )

    with standing() as found:
        monkeypatch.setenv("HF_ENDPOINT", found.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.chdir(tmp_path)
        yield found


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained")
    few = [*LITTLE, *TRUST, "--data.tasks", "[depth, edge]"]
    assert train("dense", out / "dense", steps=2, words=few) == 0
    assert train("magnitude", out / "run", "--method.density", "0.5", steps=2, words=few) == 0
    return out / "run"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))
