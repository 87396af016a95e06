from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from miniatures.hf_images import LABELS, SETTINGS, parquet, saved, table
from secateur.data.arrow import cell
from secateur.data.hf_images import hf_images, hf_images_frames
from secateur.data.rows import Rows
from secateur.runs.config import parse

pa = pytest.importorskip("pyarrow", reason="pyarrow not installed")
pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow not installed")


def numbers(batches: Any, data: Any) -> list[int]:
    return [round((float(x[0, 0].mean()) * data.std[0] + data.mean[0]) * 255 / 10) for x, _ in batches]


@pytest.mark.parametrize("write", [parquet, saved])
def test_images_and_labels_are_those_of_the_rows(tmp_path: Path, write: Any) -> None:
    data = hf_images(
        root=str(write(tmp_path, train=[1, 2, 3, 4, 5, 6, 7], validation=[8, 9], test=[10, 11, 12])),
        **SETTINGS,
    )
    assert data.channels == {"kind": 3, "count": 5}
    assert data.classes == {"kind": ("cat", "dog", "fly"), "count": ("0", "1", "2", "3", "4")}
    assert sorted(numbers(data.train, data)) == [1, 2, 3, 4, 5, 6, 7]
    assert (numbers(data.val, data), numbers(data.test, data)) == ([8, 9], [10, 11, 12])
    for n, (image, targets) in zip(numbers(data.train, data), data.train, strict=True):
        assert tuple(image.shape) == (1, 3, 8, 8)
        assert (int(targets["kind"]), int(targets["count"])) == (n % 3, -1 if n == 5 else n % 5)
        for name, task in data.tasks.items():
            assert bool(torch.isfinite(task.loss(torch.randn(1, data.channels[name]), targets[name])))


def test_names_of_classes_may_lie_beside_the_file(tmp_path: Path) -> None:
    root = saved(tmp_path, metadata=False, train=[1, 2, 3], validation=[4], test=[5])
    assert hf_images(root=str(root), **SETTINGS).classes["kind"] == ("cat", "dog", "fly")


def test_what_has_no_split_of_its_own_is_held_out_of_train(tmp_path: Path) -> None:
    root = parquet(tmp_path, train=list(range(1, 10)))
    settings = {**SETTINGS, "val_count": 2, "test_count": 3}
    data = hf_images(root=str(root), **settings)
    parts = [numbers(getattr(data, name), data) for name in ("train", "val", "test")]
    assert [len(part) for part in parts] == [4, 2, 3]
    assert sorted(n for part in parts for n in part) == list(range(1, 10))
    with pytest.raises(ValueError, match="test_count=9, but there are 9"):
        hf_images(root=str(root), **{**settings, "test_count": 9})
    with pytest.raises(ValueError, match="seed=-1; give a whole number"):
        hf_images(root=str(root), **settings, seed=-1)
    parquet(tmp_path, validation=[10, 11])
    data = hf_images(root=str(root), **settings)
    assert (len(list(data.val)), numbers(data.test, data)) == (2, [10, 11])


def test_files_of_no_known_split_are_not_taken_for_training(tmp_path: Path) -> None:
    parquet(tmp_path, train=[1, 2, 3, 4])
    pq.write_table(table([5, 6]), tmp_path / "data/heldout-0.parquet")
    with pytest.raises(
        ValueError, match=r"data/heldout-0.parquet is of no split .* one of train, training, .*rename it"
    ):
        hf_images_frames(root=str(tmp_path), labels=LABELS)
    for path in tmp_path.glob("data/train-*"):
        path.unlink()
    pq.write_table(table([1, 2, 3]), tmp_path / "data/some.parquet")
    settings: dict[str, Any] = {"root": str(tmp_path), "labels": LABELS, "val_count": 1, "test_count": 1}
    with pytest.warns(UserWarning, match=r"so all 2 files are training: heldout-0.parquet, some.parquet"):
        found = hf_images_frames(**settings)
    assert [len(x) for x in found.values()] == [3, 1, 1]  # type: ignore[arg-type]


def test_rows_come_in_any_order_on_any_process(tmp_path: Path) -> None:
    for root in (parquet(tmp_path, train=list(range(1, 10))), tmp_path / "saved"):
        if root != tmp_path:
            root.mkdir()
            saved(root, train=list(range(1, 10)))
        files = sorted((*root.glob("data/*.parquet"), *root.glob("train/*.arrow")))
        rows = Rows(files, ("kind", "legs"))
        copy = pickle.loads(pickle.dumps(rows))
        for n in (9, 1, 2, 8, 7, 3, 3, 5):
            assert rows[n - 1] == copy[n - 1] == {"kind": n % 3, "legs": None if n == 5 else n % 5}
        workers: Any = DataLoader(rows, shuffle=True, num_workers=2, collate_fn=list)  # type: ignore[arg-type]
        found = sorted((row for (row,) in workers), key=str)  # the files are open in this process
        assert found == sorted(
            ({"kind": n % 3, "legs": None if n == 5 else n % 5} for n in range(1, 10)), key=str
        )
        with pytest.raises(IndexError, match="Row 9 of 9"):
            rows[9]


def test_large_sets_are_decoded_by_workers_and_parquet_must_fit(tmp_path: Path) -> None:
    root, splits = tmp_path / "saved", {"train": list(range(1, 10)), "validation": [10], "test": [11, 12]}
    root.mkdir()
    saved(root, **splits)
    parquet(tmp_path, **splits)
    settings = {**SETTINGS, "augment": True}
    kept = hf_images(root=str(root), **settings)
    decoded = hf_images(root=str(root), cache=0.0, workers=1, **settings)
    for (a, s), (b, t) in zip(kept.train, decoded.train, strict=True):
        assert torch.equal(a, b)  # type: ignore[arg-type]
        assert all(torch.equal(s[task], t[task]) for task in s)
    with pytest.raises(ValueError, match=r"cache=0.0, but .* Parquet files cannot .*save_to_disk"):
        hf_images(root=str(tmp_path / "data"), cache=0.0, **settings)


def test_nested_lists_become_arrays_sliced_or_not() -> None:
    array = pa.array([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0]], [[7.0], [8.0]]])
    assert cell(array, 1).tolist() == [[5.0, 6.0]]
    assert cell(pa.chunked_array([array[:1], array[1:]]), 2).tolist() == [[7.0], [8.0]]
    fixed = pa.array([[[1, 2], [3, 4]]], pa.list_(pa.list_(pa.int64(), 2), 2))
    assert cell(fixed, 0).tolist() == [[1, 2], [3, 4]]


def test_a_copy_that_is_broken(tmp_path: Path) -> None:
    def failing(error: type[Exception], match: str, **changes: Any) -> None:
        with pytest.raises(error, match=match):
            hf_images(root=str(tmp_path), **{**SETTINGS, **changes})

    with pytest.raises(FileNotFoundError, match="nowhere' does not exist"):
        hf_images(root=str(tmp_path / "nowhere"), **SETTINGS)
    failing(FileNotFoundError, "holds neither .parquet files nor what datasets.save_to_disk wrote")
    parquet(tmp_path, train=[1, 2, 3, 4], validation=[5, 6], test=[7, 8])
    failing(
        ValueError,
        r"parquet lacks the columns \['breed'\]; it has \['image', 'kind', 'legs'\]",
        labels={"a": "breed"},
    )
    failing(ValueError, r"parquet lacks the columns \['img'\]", image="img")
    failing(ValueError, "labels={}; give at least one", labels={})
    failing(
        ValueError,
        "column 'image' holds .{0,40}; it must be a ClassLabel or whole numbers",
        labels={"a": "image"},
    )
    path = tmp_path / "data/test-00000-of-00002.parquet"
    kept = path.read_bytes()
    pq.write_table(table([7], kind=[3]), path)
    failing(ValueError, "test-0.*parquet, row 0, kind: label 3; with 3 classes labels are 0 to 2, or none")
    pq.write_table(table([7], legs=[-2]), path)
    failing(ValueError, "column 'legs' holds -2")
    pq.write_table(table([7], image=[{"bytes": b"no image", "path": None}]), path)
    failing(ValueError, "row 0, image is corrupt or no image")
    pq.write_table(table([7], image=[{"bytes": None, "path": "x.png"}]), path)
    failing(ValueError, "it holds no encoded image")
    path.write_bytes(kept[:100])
    failing(ValueError, "test-0.*parquet is corrupt")
    path.write_bytes(b"")
    failing(FileNotFoundError, "test-0.*parquet is missing or empty")


def test_a_saved_copy_that_is_broken(tmp_path: Path) -> None:
    root = saved(tmp_path, train=[1, 2, 3], validation=[4], test=[5])
    state = root / "test/state.json"
    data = root / "test/data-00000-of-00001.arrow"
    kept = data.read_bytes()
    data.write_bytes(kept[: len(kept) // 2])
    with pytest.raises(ValueError, match=r"test/data-0.*arrow is corrupt"):
        hf_images_frames(root=str(root), labels=LABELS)
    data.unlink()
    with pytest.raises(FileNotFoundError, match=r"test/data-0.*arrow is missing or empty"):
        hf_images_frames(root=str(root), labels=LABELS)
    state.write_text("{}")
    with pytest.raises(ValueError, match=r"state.json is damaged"):
        hf_images_frames(root=str(root), labels=LABELS)


def test_a_photo_is_upright_as_the_camera_was_held(tmp_path: Path) -> None:
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[274] = 6
    lying = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    Image.fromarray(lying).save(buffer, "PNG", exif=exif)
    root = parquet(tmp_path, train=[1, 2], test=[4, 5])
    for path in (tmp_path / "data").glob("test-*"):
        pq.write_table(table([4], image=[{"bytes": buffer.getvalue(), "path": None}]), path)
    found = hf_images_frames(root=str(root), labels=LABELS, size=(8, 8), val_count=1)["test"][0]["image"]
    assert torch.equal(found, torch.from_numpy(np.rot90(lying, -1).copy()).permute(2, 0, 1) / 255)


def test_the_command_line_takes_the_columns() -> None:
    argv = ["dense", "--data", "hf_images", "--data.root", "x", "--data.labels", "{kind: label}"]
    assert parse(argv).data.labels == {"kind": "label"}
