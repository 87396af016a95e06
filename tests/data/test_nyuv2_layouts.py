"""The layouts of others: the same four made-up frames in each, and what can be wrong with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from secateur.data import nyuv2
from secateur.data.nyuv2 import nyuv2_frames, raw_normals

H, W = 12, 16
SETTINGS: dict[str, Any] = {"size": (H, W), "batch": 1, "val_count": 1, "augment": False}
SPLITS = {"train": [1, 2, 3], "test": [4, 5]}
Make = Callable[[Path], dict[str, Any]]


def frame(number: int, classes: int) -> dict[str, np.ndarray]:
    """Decoded arrays: image (H, W, 3) in [0, 1], labels with 255 ignored, unit normals with one zero, metres with one 0."""
    rng = np.random.default_rng(number)
    normal = rng.normal(size=(H, W, 3))
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    normal[0, 0] = 0
    depth = rng.uniform(0.7, 9.9, (H, W)).astype(np.float32)
    depth[1, 1] = 0
    return {
        "image": np.full((H, W, 3), 20 * number / 255, np.float32),
        "seg": rng.choice([0, 5, classes - 1, 255], (H, W)),
        "normal": normal.astype(np.float32),
        "depth": depth,
    }


def save(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        Image.fromarray(array).save(path, quality=95)
    return path


def bytes_of(image: np.ndarray) -> np.ndarray:
    return np.rint(image * 255).astype(np.uint8)


def adashare(root: Path) -> dict[str, Any]:
    lists: dict[str, list[list[str]]] = {}
    for split, frames in SPLITS.items():
        for n in frames:
            made = frame(n, 40)
            encoded = np.rint(made["normal"] * 127 + 127.5).astype(np.uint8)
            encoded[0, 0] = 255
            row = [f"img/{n}.png", f"seg/{n}.png", f"normal_mask/{n}.png", f"depth/{n}.npy"]
            arrays = (bytes_of(made["image"]), made["seg"].astype(np.uint8), encoded, made["depth"])
            for name, array in zip(row, arrays, strict=True):
                save(root / name, array)
            lists.setdefault(split, []).append(row)
    (root / "nyu_v2_3task.json").write_text(json.dumps({**lists, "train1": [], "train2": []}))
    return {"classes": 40}


def mtan(root: Path) -> dict[str, Any]:
    for split, frames in (("train", SPLITS["train"]), ("val", SPLITS["test"])):
        for i, n in enumerate(frames):
            made = frame(n, 13)
            label = np.where(made["seg"] == 255, -1, made["seg"]).astype(np.float64)
            for kind, array in (
                ("image", made["image"]),
                ("label", label),
                ("normal", made["normal"]),
                ("depth", made["depth"][..., None]),
            ):
                save(root / split / kind / f"{i}.npy", array)
    return {"classes": 13}


def parquet(root: Path) -> dict[str, Any]:
    pa = pytest.importorskip("pyarrow", reason="pyarrow not installed")
    pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow not installed")
    for split, frames in (("train", SPLITS["train"]), ("val", SPLITS["test"])):
        made = [frame(n, 13) for n in frames]
        columns = {
            "image": pa.array([m["image"].transpose(2, 0, 1).tolist() for m in made], nested(pa, 3)),
            "segmentation": pa.array(
                [np.where(m["seg"] == 255, -1, m["seg"]).tolist() for m in made], nested(pa, 2, pa.int64())
            ),
            "depth": pa.array([m["depth"][None].tolist() for m in made], nested(pa, 3)),
            "normal": pa.array([m["normal"].transpose(2, 0, 1).tolist() for m in made], nested(pa, 3)),
        }
        (root / "data").mkdir(exist_ok=True)
        pq.write_table(pa.table(columns), root / "data" / f"{split}-00000-of-00001.parquet", row_group_size=2)
    return {"classes": 13}


def nested(pa: Any, depth: int, kind: Any = None) -> Any:
    kind = kind or pa.float32()
    for _ in range(depth):
        kind = pa.list_(kind)
    return kind


def less_is_more(root: Path) -> dict[str, Any]:
    for split, frames in (("train", [1, 2]), ("val", [3]), ("test", SPLITS["test"])):
        for n in frames:
            made = frame(n, 40)
            label = np.where(made["seg"] == 255, 0, made["seg"] + 1).astype(np.uint8)
            save(root / f"images/{n}.jpg", bytes_of(made["image"]))
            save(root / f"segmentation/{n}.png", label)
            save(root / f"depth/{n}.npy", made["depth"])
            save(root / f"normals/{n}.npy", made["normal"])
        (root / "gt_sets").mkdir(exist_ok=True)
        (root / "gt_sets" / f"{split}.txt").write_text("\n".join(map(str, frames)))
    return {"classes": 40}


LAYOUTS: list[Make] = [adashare, mtan, parquet, less_is_more]


@pytest.mark.parametrize("make", LAYOUTS)
def test_each_layout_is_found_and_decoded(tmp_path: Path, make: Make) -> None:
    settings = {**SETTINGS, **make(tmp_path)}
    data, named = (nyuv2(root=str(tmp_path), layout=how, **settings) for how in ("auto", make.__name__))
    for i, (n, (image, targets)) in enumerate(zip(SPLITS["test"], data.test, strict=True)):
        assert torch.equal(image, list(named.test)[i][0])
        made = frame(n, settings["classes"])
        red = float(image[0, 0].mean()) * data.std[0] + data.mean[0]
        assert red == pytest.approx(20 * n / 255, abs=0.01)
        assert targets["seg"][0].tolist() == made["seg"].tolist()
        torch.testing.assert_close(targets["depth"][0, 0], torch.tensor(made["depth"]))
        normal = torch.tensor(made["normal"]).permute(2, 0, 1)
        torch.testing.assert_close(targets["normal"][0], normal, atol=0.02, rtol=0)
        assert not targets["normal"][0, :, 0, 0].any()
    assert (len(data.train), len(list(data.val))) == (2, 1)


@pytest.mark.parametrize("make", LAYOUTS)
def test_classes_that_a_layout_has_not_are_refused(tmp_path: Path, make: Make) -> None:
    has = make(tmp_path)["classes"]
    with pytest.raises(ValueError, match=rf"labelled with {has} classes; give classes={has}"):
        nyuv2(root=str(tmp_path), **SETTINGS, classes=53 - has)
    assert nyuv2(root=str(tmp_path), **SETTINGS, tasks=("depth",), classes=53 - has)


def test_two_layouts_in_one_folder_need_a_choice(tmp_path: Path) -> None:
    adashare(tmp_path)
    mtan(tmp_path)
    with pytest.raises(ValueError, match="could be adashare or mtan; say which by layout="):
        nyuv2(root=str(tmp_path), **SETTINGS)
    assert nyuv2(root=str(tmp_path), layout="mtan", **SETTINGS)
    with pytest.raises(ValueError, match="layout='numpy'; choose auto or one of folder"):
        nyuv2(root=str(tmp_path), layout="numpy", **SETTINGS)  # type: ignore[arg-type]


def test_frames_are_cheap_and_name_their_own_errors(tmp_path: Path) -> None:
    adashare(tmp_path)
    for path in tmp_path.glob("seg/*.png"):
        path.unlink()
    splits = nyuv2_frames(root=str(tmp_path), size=(H, W), val_count=1, classes=40)
    assert {name: len(part) for name, part in splits.items()} == {"train": 2, "val": 1, "test": 2}  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError, match=r"seg/4\.png is missing or empty"):
        splits["test"][0]


def test_less_is_more_without_a_test_list_holds_out_by_seed(tmp_path: Path) -> None:
    less_is_more(tmp_path)
    (tmp_path / "gt_sets" / "test.txt").unlink()
    data = nyuv2(root=str(tmp_path), **SETTINGS, classes=40)
    assert (len(data.train), len(list(data.val)), len(list(data.test))) == (1, 1, 1)


def test_raw_normals_are_those_of_the_published_code(tmp_path: Path) -> None:
    adashare(tmp_path)
    raw = nyuv2(root=str(tmp_path), **SETTINGS, classes=40, tasks=("normal",), normals="raw_uint8")
    for n, (_, targets) in zip(SPLITS["test"], raw.test, strict=True):
        stored = np.asarray(Image.open(tmp_path / f"normal_mask/{n}.png")).astype(np.float32)
        published = stored / np.linalg.norm(stored, axis=-1, keepdims=True)
        found = targets["normal"][0].permute(1, 2, 0).numpy()
        cosine = (found * published).sum(-1)
        assert not found[0, 0].any()
        assert np.sort(cosine.flatten())[1:].min() > np.cos(np.radians(0.6))
    with pytest.raises(ValueError, match="normals='bytes'; choose decoded or raw_uint8"):
        nyuv2(root=str(tmp_path), normals="bytes")  # type: ignore[arg-type]
    n = torch.nn.functional.normalize(torch.randn(1, 3, 4, 4), dim=1)
    torch.testing.assert_close(raw_normals(n).norm(dim=1), torch.ones(1, 4, 4))


def test_the_cache_changes_no_value(tmp_path: Path) -> None:
    settings = {**SETTINGS, **adashare(tmp_path), "augment": True}
    kept, decoded = (nyuv2(root=str(tmp_path), cache=cache, **settings) for cache in (1.0, 0.0))
    for (a, s), (b, t) in zip(kept.train, decoded.train, strict=True):
        assert torch.equal(a, b)  # type: ignore[arg-type]
        assert all(torch.equal(s[task], t[task]) for task in s)
    with pytest.raises(ValueError, match="cache=-1"):
        nyuv2(root=str(tmp_path), cache=-1, **settings)


def failing(root: Path, settings: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        nyuv2(root=str(root), **{**SETTINGS, **settings})


def test_an_adashare_copy_that_is_broken(tmp_path: Path) -> None:
    settings = adashare(tmp_path)
    source = tmp_path / "nyu_v2_3task.json"
    good = json.loads(source.read_text())
    listed = {**good, "test": [*good["test"], ["img/9.png", "seg/9.png", "normal_mask/9.png", "depth/9.npy"]]}
    source.write_text(json.dumps(listed))
    failing(
        tmp_path, settings, FileNotFoundError, "4 of the 12 files that .*json.*img/9.png.*Copy the folder"
    )
    source.write_text(json.dumps({**good, "test": [["img/4.png", "seg/4.png"]]}))
    failing(tmp_path, settings, ValueError, "json: 'test' must list at least one frame, each of 4 paths")
    source.write_text(json.dumps({"train": good["train"]}))
    failing(tmp_path, settings, ValueError, "json: 'test' must list")
    source.write_text('{"train": [')
    failing(tmp_path, settings, ValueError, "json cannot be read as JSON .*copy it again")
    source.write_text(json.dumps(good))
    save(tmp_path / "seg/4.png", np.full((H, W), 40, np.uint8))
    failing(tmp_path, settings, ValueError, "4.png: label 40; with 40 classes labels are 0 to 39, or 255")
    save(tmp_path / "seg/4.png", np.zeros((H, W, 3), np.uint8))
    failing(tmp_path, settings, ValueError, "seg/4.png: shape .*one channel")
    save(tmp_path / "seg/4.png", np.zeros((H, W + 1), np.uint8))
    failing(tmp_path, settings, ValueError, "seg/4.png is 17x12 pixels, but the frame's image is 16x12")
    save(tmp_path / "seg/4.png", np.zeros((H, W), np.uint8))
    save(tmp_path / "depth/4.npy", np.full((H, W), -1.0, np.float32))
    failing(tmp_path, settings, ValueError, "4.npy: depth is negative or not finite")
    save(tmp_path / "depth/4.npy", np.ones((H, W), np.int32))
    failing(tmp_path, settings, ValueError, "4.npy: int32; depth must be floats, metres")
    path = save(tmp_path / "depth/4.npy", np.ones((H, W), np.float32))
    path.write_bytes(path.read_bytes()[:200])
    failing(tmp_path, settings, ValueError, "4.npy is corrupt")


def test_an_mtan_copy_that_is_broken(tmp_path: Path) -> None:
    settings = mtan(tmp_path)
    save(tmp_path / "train/label/1.npy", np.full((H, W), 13.0))
    failing(tmp_path, settings, ValueError, "1.npy: label 13; with 13 classes labels are 0 to 12")
    save(tmp_path / "train/label/1.npy", np.full((H, W), 0.5))
    failing(tmp_path, settings, ValueError, "1.npy: float64 that is not whole")
    save(tmp_path / "train/label/1.npy", np.zeros((H, W)))
    save(tmp_path / "train/image/1.npy", np.full((H, W, 3), 200.0))
    failing(
        tmp_path, settings, ValueError, r"1.npy: float64, 200.0 to 200.0; image must be 8-bit RGB, or floats"
    )
    save(tmp_path / "train/image/1.npy", np.zeros((3, H, W)))
    failing(tmp_path, settings, ValueError, "1.npy: shape .3, 12, 16.; image must be")
    save(tmp_path / "train/image/1.npy", np.zeros((H, W, 3)))
    save(tmp_path / "train/normal/1.npy", np.zeros((H, W, 3), np.int32))
    failing(tmp_path, settings, ValueError, "1.npy: int32; normal must be")
    save(tmp_path / "train/normal/1.npy", np.zeros((H, W, 3)))
    (tmp_path / "train/depth/1.npy").unlink()
    failing(tmp_path, settings, FileNotFoundError, "1 of the 12 files that .*image stands for .*depth/1.npy")
    save(tmp_path / "train/image/first.npy", np.zeros((H, W, 3)))
    failing(tmp_path, settings, ValueError, "first.npy is no frame: its name must be a number")
    for path in (tmp_path / "val/image").glob("*"):
        path.unlink()
    (tmp_path / "train/image/first.npy").unlink()
    failing(tmp_path, settings, FileNotFoundError, "val/image holds no .npy files")


def test_a_parquet_copy_that_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = parquet(tmp_path)
    pa, pq = (pytest.importorskip(name) for name in ("pyarrow", "pyarrow.parquet"))
    path = tmp_path / "data/val-00000-of-00001.parquet"
    table, kept = pq.read_table(path), path.read_bytes()

    def with_column(name: str, column: Any) -> None:
        pq.write_table(table.set_column(table.schema.names.index(name), name, column), path)

    pq.write_table(table.drop_columns(["normal"]), path)
    failing(
        tmp_path, settings, ValueError, r"val-0.*parquet lacks the columns \['normal'\]; it has \['image'"
    )
    with_column("segmentation", pa.array([[[13] * W] * H] * 2))
    failing(tmp_path, settings, ValueError, "parquet, row 0, segmentation: label 13; with 13 classes")
    with_column("segmentation", pa.array([[[1] * W] * (H - 1)] * 2))
    failing(tmp_path, settings, ValueError, "row 0: segmentation is 16x11 pixels, but the image is 16x12")
    with_column("segmentation", pa.array([[[1] * W, [1]]] * 2))
    failing(tmp_path, settings, ValueError, "parquet is corrupt at row 0 .its lists are of different lengths")
    with_column("depth", pa.array([[[1.0] * W] * H] * 2))
    failing(tmp_path, settings, ValueError, "depth: shape .12, 16.; it must be .channels, height, width.")
    with_column("depth", pa.array([1.0, 2.0]))
    failing(tmp_path, settings, ValueError, r"row 0, depth: .*1.0.* no array")
    path.write_bytes(kept[: len(kept) // 2])
    failing(tmp_path, settings, ValueError, "val-0.*parquet is corrupt")
    path.write_bytes(b"")
    failing(tmp_path, settings, FileNotFoundError, "val-0.*parquet is missing or empty")
    path.unlink()
    failing(tmp_path, settings, FileNotFoundError, "no split val or validation or test, only train")
    path.write_bytes(kept)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    failing(tmp_path, settings, ImportError, r"pip install 'secateur\[parquet\]'")


def test_a_less_is_more_copy_that_is_broken(tmp_path: Path) -> None:
    settings = less_is_more(tmp_path)
    save(tmp_path / "segmentation/1.png", np.full((H, W), 41, np.uint8))
    failing(
        tmp_path,
        settings,
        ValueError,
        "1.png: label 41; with 40 classes labels are 1 to 40, or 0, 255 to ignore",
    )
    (tmp_path / "gt_sets/val.txt").write_text("")
    failing(tmp_path, settings, FileNotFoundError, "val.txt is missing or empty; it must name the val frames")
