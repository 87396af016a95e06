"""What a stream holds out of training, and how Taskonomy's frames stream."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from miniatures.shards import frames
from miniatures.streams import KINDS, flat, streamed, streams
from miniatures.taskonomy import SETTINGS, written
from secateur.cli import main
from secateur.data.splitting import TooFewError
from secateur.data.taskonomy import taskonomy

pytestmark = pytest.mark.usefixtures("_quiet_datasets")


@pytest.mark.parametrize("kind", KINDS)
def test_what_has_no_shards_is_held_out_and_never_trained_on(kind: str, tmp_path: Path) -> None:
    root = streams(kind, tmp_path / "one", train=list(range(1, 21)))
    data: Any = streamed(kind, root, val_count=4, test_count=5, batch=1)
    val, test = (flat(split, data) for split in (data.val, data.test))
    train = flat(data.train.from_step(0), data, 22)
    assert (len(val), len(test)) == (4, 5)
    assert sorted(train[:11] + val + test) == list(range(1, 21))
    assert set(train) == set(train[:11])
    again: Any = streamed(kind, root, val_count=4, test_count=5, batch=1)
    assert flat(again.val, data) == val
    for counts, said in (((4, 16), "val_count=4"), ((1, 20), "test_count=20"), ((0, 1), "val_count=0")):
        with pytest.raises(TooFewError, match=f"{said}, but there are 20 training frames"):
            streamed(kind, root, val_count=counts[0], test_count=counts[1])
    root = streams(kind, tmp_path / "two", train=list(range(1, 11)), validation=[11, 12])
    data = streamed(kind, root, val_count=3)
    assert flat(data.test, data) == [11, 12]
    assert len(flat(data.val, data)) == 3


def test_frames_of_shards_are_those_of_the_list(tmp_path: Path) -> None:
    pytest.importorskip("webdataset", reason="webdataset not installed")
    (tmp_path / "listed").mkdir()
    listed = taskonomy(root=str(written(tmp_path / "listed")), **SETTINGS)
    shards = frames(tmp_path / "shards")
    data = taskonomy(root=str(shards), stream=True, **SETTINGS)
    for (a, s), (b, t) in zip(data.test, listed.test, strict=True):
        assert torch.equal(a, b)  # type: ignore[arg-type]
        assert s.keys() == t.keys()
        assert all(torch.equal(s[task], t[task]) for task in s)
    only = taskonomy(root=str(shards), stream=True, tasks=("normal",), prior=False, **SETTINGS)
    for (_, s), (_, t) in zip(only.test, listed.test, strict=True):
        assert torch.equal(s["normal"], t["normal"])
    assert len([*data.val]) == 1
    (shards / "test-0.tar").rename(shards / "val-0.tar")
    assert len([*taskonomy(root=str(shards), stream=True, **SETTINGS).test]) == 2


def test_the_doctor_reads_every_shard_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shards = frames(tmp_path / "shards")
    words = [
        "doctor",
        "--data",
        "taskonomy",
        "--data.root",
        "shards",
        "--data.stream",
        "true",
        "--data.val_count",
        "1",
    ]
    assert main([*words, "--size", "12x16"]) == 0
    assert "nothing wrong was found" in capsys.readouterr().out
    content = bytearray((shards / "train-0.tar").read_bytes())
    content[512 + 8 : 512 + 200] = bytes(192)  # in the first picture
    (shards / "train-0.tar").write_bytes(bytes(content))
    assert main([*words, "--size", "12x16"]) == 1
    said = capsys.readouterr().out
    assert "train-0.tar, sample 000000, rgb.png is corrupt or no image" in said
    assert "train │ 1" in said
