"""Shards from anybody: nothing in them is followed, fetched or run, and the docs' own ones are read."""

from __future__ import annotations

import io
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from miniatures.hf_images import encoded, table
from miniatures.shards import CLASSES
from miniatures.streams import KINDS, flat, last, settings, streamed, streams
from miniatures.taskonomy import written
from processes.forked import program
from secateur import SoftThreshold
from secateur.data import taskonomy
from secateur.problem import Problem
from secateur.training import fit

pytestmark = pytest.mark.usefixtures("_quiet_datasets")
SPLITS = {"train": list(range(1, 15)), "validation": [21, 22], "test": [23, 24, 25]}
PAGE = Path(__file__).resolve().parents[3] / "docs" / "data.md"


@pytest.mark.parametrize("kind", ["parquet", "saved"])
def test_paths_and_addresses_in_rows_are_not_followed(kind: str, tmp_path: Path) -> None:
    root = streams(kind, tmp_path / "set", **SPLITS)
    path = last(root, kind)
    made = table([1], image=[{"bytes": None, "path": str(tmp_path / "1.png")}])
    (tmp_path / "1.png").write_bytes(encoded(1)["bytes"])
    if kind == "parquet":
        pytest.importorskip("pyarrow.parquet").write_table(made, path)
    else:
        with pytest.importorskip("pyarrow.ipc").new_stream(path, made.schema) as writer:
            writer.write_table(made)
    with pytest.raises(ValueError, match=r"row 0, image is no image: .*only the path"):
        flat((data := streamed(kind, root, batch=1)).train, data)


ALONE = """
import sys
events, written = [], []


def watch(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "os.system"):
        events.append((event, args))
    if event == "open" and set(str(args[1])) & set("wax+"):
        written.append(str(args[0]))


import datasets, pyarrow.parquet, webdataset, torch.utils.data
from secateur.data.hf_images import hf_images
sys.addaudithook(watch)
for root, settings in eval(sys.argv[1]).values():
    assert len(list(hf_images(root=root, **settings).train)) == 3
assert not events, events
assert not [w for w in written if w.startswith(sys.argv[2])], written
"""


def test_nothing_is_fetched_and_nothing_is_written_among_the_users_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    roots = {kind: str(streams(kind, tmp_path / kind, **SPLITS)) for kind in KINDS}
    words = [repr({kind: (roots[kind], settings(kind)) for kind in KINDS}), str(tmp_path)]
    done = program(ALONE, *words)
    assert not done.returncode, done.stderr
    assert not done.stderr


def _blocks() -> list[str]:
    part = PAGE.read_text(encoding="utf-8").partition("## Data that stream")[2].partition("\n## ")[0]
    return [block.partition("```")[0] for block in part.split("```python\n")[1:]]


def test_the_shards_of_the_docs_are_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("webdataset", reason="webdataset not installed")
    monkeypatch.chdir(written(tmp_path))
    exec(compile(_blocks()[1], "data.md", "exec"), {})
    data = taskonomy(root="shards", prior=False, stream=True, size=(12, 16), batch=1, val_count=1)
    assert [len([*split]) for split in (data.train, data.val, data.test)] == [2, 1, 2]


def test_the_call_of_the_docs_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    streams("tar", tmp_path / "SHARDS", **{**SPLITS, "train": list(range(1, 40))})
    code = _blocks()[0].replace("1000", str(CLASSES["kind"])).replace("100_000", "4")
    model = nn.Sequential(nn.Conv2d(3, 4, 9, 9), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    heads = nn.ModuleDict({"kind": model})
    call: Any = lambda *args: Problem(*args, call=lambda m, x: {"kind": m["kind"](x)})  # noqa: E731
    exec(
        compile(code, "data.md", "exec"),
        {"model": heads, "Problem": call, "fit": fit, "SoftThreshold": SoftThreshold},
    )
    assert (tmp_path / "run/checkpoint.pt").exists()


def test_what_a_mac_puts_into_a_tar_is_no_sample(tmp_path: Path) -> None:
    root = streams("tar", tmp_path / "set", **SPLITS)
    for path in root.glob("*.tar"):
        with tarfile.open(path) as old:
            held = [(member.name, old.extractfile(member)) for member in old]
            files = [(name, content.read()) for name, content in held if content]
        with tarfile.open(path, "w") as new:
            for name, content in files:
                for place, inside in ((f"set/._{name}", b"\0\5\26\7"), (f"set/{name}", content)):
                    member = tarfile.TarInfo(place)
                    member.size = len(inside)
                    new.addfile(member, io.BytesIO(inside))
    data = streamed("tar", root, batch=1)
    assert sorted(flat(data.train, data)) == SPLITS["train"]


@pytest.mark.parametrize(("kind", "package"), [("tar", "webdataset"), ("parquet", "datasets")])
def test_what_is_not_installed_is_named(
    kind: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = streams(kind, tmp_path / "set", **SPLITS)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"{package}: pip install 'secateur\[stream\]'"):
        streamed(kind, root)


def test_a_tar_that_is_filled_up_to_large_blocks_is_whole(tmp_path: Path) -> None:
    """As ``tar --blocking-factor 512`` writes it."""
    root = streams("tar", tmp_path / "set", **SPLITS)

    def read() -> list[float]:
        data = streamed("tar", root, batch=1)
        return flat(data.train, data)

    before = read()
    with last(root, "tar").open("ab") as opened:
        opened.write(bytes(512 * 512))
    assert read() == before
