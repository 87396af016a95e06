"""Folders and Parquet files that the real ``datasets`` wrote: what we read of them is what it reads itself."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from miniatures.hf_images import LABELS, SETTINGS
from miniatures.nyuv2 import SETTINGS as ROOMS
from miniatures.nyuv2 import SPLITS as FRAMES
from miniatures.nyuv2 import H, W, frame
from miniatures.saved_by_datasets import SPLITS, hf, parquet, saved, shuffled
from secateur.data.arrow import class_names, files_by_split
from secateur.data.hf_images import hf_images, hf_images_frames
from secateur.data.nyuv2 import nyuv2, nyuv2_frames
from secateur.data.rows import Rows

pytestmark = pytest.mark.usefixtures("_quiet_datasets")


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
