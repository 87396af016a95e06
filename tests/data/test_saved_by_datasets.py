"""Folders and Parquet files that the real ``datasets`` wrote: what we read of them is what it reads itself."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from miniatures.colours import coloured
from miniatures.hf_images import LABELS, SETTINGS, encoded, table
from miniatures.nyuv2 import SETTINGS as ROOMS
from miniatures.nyuv2 import SPLITS as FRAMES
from miniatures.nyuv2 import H, W, frame
from secateur.data.arrow import class_names, files_by_split
from secateur.data.hf_images import hf_images, hf_images_frames
from secateur.data.nyuv2 import nyuv2, nyuv2_frames
from secateur.data.rows import Rows

hf = pytest.importorskip("datasets", reason="datasets not installed")
pa = pytest.importorskip("pyarrow", reason="pyarrow not installed")
pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow not installed")
SPLITS = {"train": list(range(1, 10)), "validation": [10, 11], "test": [12, 13]}


@pytest.fixture(autouse=True)
def _quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No bars, and what ``datasets`` keeps for itself goes beside the test's files."""
    monkeypatch.setattr(hf.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    hf.disable_progress_bars()


def features() -> Any:
    kinds = {"image": hf.Image(), "kind": hf.ClassLabel(names=["cat", "dog", "fly"])}
    return hf.Features({**kinds, "legs": hf.Value("int64"), "box": hf.Array2D((2, 2), "float32")})


def rows(numbers: list[int], **columns: Any) -> Any:
    made = {
        "image": [encoded(n, ("RGB", "L", "RGBA")[n % 3]) for n in numbers],
        "kind": [n % 3 for n in numbers],
        "legs": [None if n == 5 else n % 5 for n in numbers],
        "box": [[[n, 0.0], [1.0, 2.0]] for n in numbers],
    }
    return hf.Dataset.from_dict(made | columns, features=features())


def dict_of(splits: dict[str, list[int]] = SPLITS) -> Any:
    return hf.DatasetDict({name: rows(numbers) for name, numbers in splits.items()})


def saved(root: Path) -> None:
    dict_of().save_to_disk(str(root), num_shards={"train": 3, "validation": 1, "test": 2})


def shuffled(root: Path) -> None:
    """Rows in another order than they lie in: ``save_to_disk`` writes them as they are read."""
    hf.DatasetDict({name: data.shuffle(seed=1) for name, data in dict_of().items()}).save_to_disk(str(root))


def parquet(root: Path) -> None:
    (root / "data").mkdir(parents=True)
    for name, data in dict_of().items():
        for i in range(2):
            shard = data.shard(2, i, contiguous=True)
            shard.to_parquet(str(root / f"data/{name}-0000{i}-of-00002.parquet"), batch_size=3)


def their_rows(files: list[Path]) -> list[dict[str, Any]]:
    """Read by ``datasets``: the folder whole, a Parquet file as a copy."""
    if files[0].suffix == ".parquet":
        data = hf.Dataset.from_parquet(
            [str(file) for file in files], cache_dir=str(files[0].parents[1] / "cache")
        )
    else:
        data = hf.load_from_disk(str(files[0].parent))
    return list(data.cast_column("image", hf.Image(decode=False)))


@pytest.mark.parametrize("write", [saved, shuffled, parquet])
def test_rows_and_classes_are_those_that_datasets_reads(tmp_path: Path, write: Any) -> None:
    root = tmp_path / "set"
    write(root)
    files = files_by_split(root)
    assert {name: len(Rows(some, ("kind",))) for name, some in files.items()} == {
        name: len(numbers) for name, numbers in SPLITS.items()
    }
    for some in files.values():
        ours = Rows(some, ("image", "kind", "legs", "box"))
        theirs = their_rows(some)
        for mine in (ours, pickle.loads(pickle.dumps(ours))):
            for i, row in enumerate(theirs):
                got = mine[i]
                assert np.array_equal(
                    got.pop("box"), np.float32(row.pop("box")) if mine is not ours else row["box"]
                )
                assert got == {name: row[name] for name in got}
        assert class_names(some[0]) == {"kind": ("cat", "dog", "fly")}


@pytest.mark.parametrize("write", [saved, shuffled, parquet])
def test_samples_are_the_pictures_that_datasets_decodes(tmp_path: Path, write: Any) -> None:
    write(tmp_path / "set")
    data = hf_images_frames(root=str(tmp_path / "set"), labels=LABELS, size=(7, 9))
    files = files_by_split(tmp_path / "set")
    feature = hf.Image(mode="RGB")
    for ours, theirs in (("train", "train"), ("val", "validation"), ("test", "test")):
        for i, row in enumerate(their_rows(files[theirs])):
            sample = data[ours][i]
            picture = np.asarray(feature.decode_example(row["image"]).convert("RGB"))
            if picture.shape[:2] == (7, 9):  # the others are resized
                assert np.array_equal(np.rint(sample["image"].numpy() * 255), picture.transpose(2, 0, 1))
            legs = -1 if row["legs"] is None else row["legs"]
            assert (int(sample["kind"]), int(sample["count"])) == (row["kind"], legs)


def test_a_training_is_the_same_from_a_folder_and_from_parquet(tmp_path: Path) -> None:
    saved(tmp_path / "a")
    parquet(tmp_path / "b")
    one = hf_images(root=str(tmp_path / "a"), **SETTINGS)
    two = hf_images(root=str(tmp_path / "b"), **SETTINGS)
    decoded = hf_images(root=str(tmp_path / "a"), cache=0.0, workers=1, **SETTINGS)
    for (x, s), (y, t), (z, u) in zip(one.train, two.train, decoded.train, strict=True):
        assert torch.equal(x, y) and torch.equal(x, z)  # type: ignore[arg-type]  # noqa: PT018
        assert all(torch.equal(s[task], t[task]) and torch.equal(s[task], u[task]) for task in s)


@pytest.mark.parametrize("kind", ["torch", "jax", "tensorflow"])
def test_a_folder_that_was_saved_for_another_library(tmp_path: Path, kind: str) -> None:
    """``datasets`` opens it only where that library is installed."""
    saved(tmp_path / "set")
    state = tmp_path / "set/train/state.json"
    state.write_text(json.dumps({**json.loads(state.read_text()), "_format_type": kind}))
    assert len(hf_images(root=str(tmp_path / "set"), **SETTINGS).train) == 9


def test_a_column_of_a_type_that_is_not_known_yet(tmp_path: Path) -> None:
    """Only the columns that are asked for matter."""
    saved(tmp_path / "set")
    for info in (tmp_path / "set").rglob("dataset_info.json"):
        about = json.loads(info.read_text())
        about["features"]["box"] = {"_type": "Hologram"}
        info.write_text(json.dumps(about))
    assert hf_images(root=str(tmp_path / "set"), **SETTINGS).classes["kind"] == ("cat", "dog", "fly")


@pytest.mark.parametrize("fixed", [True, False])
@pytest.mark.parametrize("form", ["folder", "parquet"])
def test_nyuv2_with_arrays_as_datasets_writes_them(tmp_path: Path, fixed: bool, form: str) -> None:
    def array(channels: int | None, dtype: str) -> Any:
        if fixed:
            return hf.Array3D((channels, H, W), dtype) if channels else hf.Array2D((H, W), dtype)
        plane = hf.List(hf.List(hf.Value(dtype)))
        return hf.List(plane) if channels else plane

    kinds = {"image": array(3, "float32"), "segmentation": array(None, "int64")}
    kinds |= {"depth": array(1, "float32"), "normal": array(3, "float32")}
    made = {
        name: [frame(n, 13) for n in FRAMES[theirs]] for name, theirs in (("train", "train"), ("val", "test"))
    }
    splits = hf.DatasetDict(
        {
            name: hf.Dataset.from_dict(
                {
                    "image": [m["image"].transpose(2, 0, 1) for m in frames],
                    "segmentation": [np.where(m["seg"] == 255, -1, m["seg"]) for m in frames],
                    "depth": [m["depth"][None] for m in frames],
                    "normal": [m["normal"].transpose(2, 0, 1) for m in frames],
                },
                features=hf.Features(kinds),
            )
            for name, frames in made.items()
        }
    )
    root = tmp_path / "set"
    if form == "folder":
        splits.save_to_disk(str(root), num_shards={"train": 2, "val": 1})
    else:
        root.mkdir()
        for name, data in splits.items():
            data.to_parquet(str(root / f"{name}-00000-of-00001.parquet"), batch_size=2)
    found = nyuv2_frames(root=str(root), size=(H, W), val_count=1)
    assert [len(found[name]) for name in ("train", "val", "test")] == [2, 1, 2]  # type: ignore[arg-type]
    for i, m in enumerate(made["val"]):
        sample = found["test"][i]
        assert torch.equal(sample["depth"][0], torch.as_tensor(m["depth"]))
        assert torch.equal(sample["seg"], torch.as_tensor(m["seg"]).long())
        assert torch.allclose(sample["normal"], torch.as_tensor(m["normal"].transpose(2, 0, 1)), atol=1e-6)
        assert torch.equal(sample["image"], torch.as_tensor(m["image"].transpose(2, 0, 1)))
    assert len(nyuv2(root=str(root), classes=13, **ROOMS).train) == 2


def test_images_that_lie_beside_are_put_in_by_save_to_disk_and_refused_elsewhere(tmp_path: Path) -> None:
    """A path in a row is never opened, for a row may name any file of the reader, or an address."""
    for n in (1, 2, 3):
        Image.fromarray(coloured(10 * n, 8, 8)).save(tmp_path / f"{n}.png")
    data = rows([1, 2, 3], image=[str(tmp_path / f"{n}.png") for n in (1, 2, 3)])
    data.save_to_disk(str(tmp_path / "set"))
    settings = {**SETTINGS, "val_count": 1, "test_count": 1}
    assert len(hf_images(root=str(tmp_path / "set"), **settings).train) == 1
    (tmp_path / "other").mkdir()
    data.to_parquet(str(tmp_path / "other/train.parquet"))  # keeps the paths
    with pytest.raises(
        ValueError, match=r"row \d, image is no image: .* only the path '.*\d.png'; .*save_to_disk"
    ):
        hf_images(root=str(tmp_path / "other"), **settings)
    address = {"bytes": None, "path": "http://127.0.0.1:9/x.png"}
    pq.write_table(table([1, 2, 3], image=[address] * 3), tmp_path / "other/train.parquet")
    with pytest.raises(ValueError, match="only the path 'http"):
        hf_images(root=str(tmp_path / "other"), **settings)


ALONE = """
import random, sys
from pathlib import Path
events, written = [], []
watched = ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system")


def watch(event, args):
    if event in watched:
        events.append(event)
    if event == "open" and set(str(args[1])) & set("wax+"):
        written.append(args[0])


sys.addaudithook(watch)
sys.modules["datasets"] = None
import pyarrow
from secateur.data.arrow import class_names, values
from secateur.data.hf_images import hf_images
from secateur.data.rows import Rows

columns, draw = ("image", "kind", "legs", "box"), random.Random(0)
ends = (b"\\xff\\xff\\xff\\x7f", b"\\xff" * 4, b"\\0\\0\\0\\x80", b"\\0\\0\\1\\0")
for root in map(Path, sys.argv[1:]):
    events.clear(), written.clear()  # of the imports
    data = hf_images(root=str(root), labels={"kind": "kind", "count": "legs"}, size=(8, 8), batch=1)
    assert [len(list(getattr(data, name))) for name in ("train", "val", "test")] == [9, 2, 2]
    file = next(path for path in sorted(root.rglob("*")) if path.suffix in (".arrow", ".parquet"))
    assert Rows([file], columns)[0]["box"].shape == (2, 2)
    assert not events, events
    assert not written, written
    kept, outcomes = file.read_bytes(), {"read": 0, "refused": 0}
    for n in range(200):
        content = bytearray(kept)
        place, length = draw.randrange(len(content) - 40), draw.choice((1, 4, 40))
        if n % 3 == 0:
            del content[place:]
        elif n % 3 == 1:
            content[place : place + length] = draw.randbytes(length)
        else:
            content[place : place + 4] = draw.choice(ends)
        file.unlink()  # not in place: what is mapped must stay as it is
        file.write_bytes(content)
        try:
            class_names(file), values([file], "legs"), list(Rows([file], columns))
            outcomes["read"] += 1
        except (ValueError, FileNotFoundError) as error:
            assert str(file) in str(error), error
            assert "again" in str(error) or "lacks the columns" in str(error), error
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 20, outcomes
"""


def test_without_datasets_or_network_and_damage_is_named(tmp_path: Path) -> None:
    """Nothing is fetched, run or written; a damaged file raises an error that names it, and never ends the process."""
    saved(tmp_path / "a")
    parquet(tmp_path / "b")
    command = [sys.executable, "-c", ALONE, str(tmp_path / "a"), str(tmp_path / "b")]
    done = subprocess.run(command, timeout=300, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])


def test_no_code_is_run_for_a_type_that_is_pickled_in_the_file(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "run",))

    saved(tmp_path / "set")
    file = next((tmp_path / "set/test").glob("*.arrow"))
    with pa.ipc.open_stream(io.BytesIO(file.read_bytes())) as stream:
        content = stream.read_all()
    kind = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": pickle.dumps(Evil()),
    }
    place = content.schema.get_field_index("legs")
    schema = content.schema.set(place, content.schema.field("legs").with_metadata(kind))
    with pa.ipc.new_stream(str(file), schema) as writer:
        writer.write_table(content.cast(schema))
    hf_images(root=str(tmp_path / "set"), **SETTINGS)
    assert not (tmp_path / "run").exists()


DAMAGED = [
    ("state.json", "[" * 100_000, "state.json is damaged"),
    (
        "state.json",
        '{"_data_files": [{"filename": "../validation/data-00000-of-00001.arrow"}]}',
        "other folders",
    ),
    ("state.json", '{"_data_files": [{"filename": "/etc/passwd"}]}', "other folders"),
    ("state.json", '{"_data_files": [{"filename": 7}]}', "state.json is damaged"),
    (
        "dataset_info.json",
        '{"features": {"kind": {"_type": "ClassLabel", "names": 7}}}',
        "metadata are damaged",
    ),
    ("dataset_info.json", '{"features": {"kind": {"_type": "ClassLabel", "names": "abc"}}}', "names=abc"),
    (
        "dataset_info.json",
        '{"features": {"kind": {"_type": "ClassLabel", "names": [1]}}}',
        "metadata are damaged",
    ),
    ("dataset_info.json", "[" * 100_000, "metadata are damaged"),
    ("dataset_info.json", "[]", "metadata are damaged"),
]


@pytest.mark.parametrize(("name", "content", "match"), DAMAGED)
def test_what_lies_beside_the_rows_is_damaged(tmp_path: Path, name: str, content: str, match: str) -> None:
    saved(tmp_path / "set")
    for file in (tmp_path / "set/train").glob("*.arrow"):  # the names of classes are then read beside it
        with pa.ipc.open_stream(io.BytesIO(file.read_bytes())) as stream:
            read = stream.read_all()
        with pa.ipc.new_stream(str(file), read.schema.remove_metadata()) as writer:
            writer.write_table(read.replace_schema_metadata(None))
    (tmp_path / "set/train" / name).write_text(content)
    with pytest.raises(ValueError, match=match) as raised:
        hf_images_frames(root=str(tmp_path / "set"), labels=LABELS)
    assert "set/train/" in str(raised.value)
