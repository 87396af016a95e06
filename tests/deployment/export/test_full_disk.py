"""A disk that is full in the middle of a file: one sentence, no half file, and what was there before."""

from __future__ import annotations

import resource
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from problems import TwoHeads
from secateur.cli import main
from secateur.deployment.engines import EngineMissingError
from secateur.deployment.export import Format, export, require
from secateur.storage import named_tensors, save, save_snapshot
from tiny_runs import train

FORMATS: dict[str, Format] = {".onnx": "onnx", ".xml": "openvino", ".pte": "executorch", ".pt2": "pt2"}


@contextmanager
def room_for(size: int) -> Generator[None]:
    """Files may have so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("suffix", FORMATS)
def test_no_format_leaves_half_a_file(suffix: str, tmp_path: Path) -> None:
    try:
        require(FORMATS[suffix])
    except EngineMissingError as error:
        pytest.skip(str(error))
    path = tmp_path / f"net{suffix}"
    path.write_text("old")
    with (
        room_for(6_000),
        pytest.raises(OSError, match=rf"^Cannot write {path}: .*Free space or choose"),
    ):
        export(TwoHeads().eval(), torch.randn(1, 3, 8, 8), path)
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {path.name: "old"}


@pytest.mark.parametrize("size", [0, 100, 2_000, 8_000])
def test_no_weights_and_no_checkpoint_is_half_a_file(size: int, tmp_path: Path) -> None:
    model, path = TwoHeads(), tmp_path / "file"
    path.write_text("old")
    for write in (
        lambda: save(model, path),
        lambda: save_snapshot(path, named_tensors(model), {"step": 1, "optimizer": model.state_dict()}, []),
    ):
        with room_for(size), pytest.raises(OSError, match=rf"Cannot write {path}: .*Free space or choose"):
            write()
        assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {path.name: "old"}


@pytest.mark.slow
def test_compact_keeps_what_it_made_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert train("adapmtl", out, steps=2) == 0
    assert main(["compact", str(out)]) == 0
    before = {path: path.read_bytes() for path in out.iterdir()}
    with room_for(3_000):
        assert main(["compact", str(out)]) == 1
    said = capsys.readouterr().err.split("\n")
    assert "compact.safetensors: " in said[-2]
    assert {path: path.read_bytes() for path in out.iterdir()} == before
