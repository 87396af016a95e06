"""Folder-per-domain classification in each layout on disk, with miniature copies."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from domain_folders import CLASSES, COUNT, folders, picture
from secateur.data import domains
from secateur.data.domains import domain_images

PACS = Path(__file__).parents[3] / "shared" / "data" / "pacs_64"


def packed(root: Path) -> Path:
    (root / "meta.json").write_text(json.dumps({"classes": list(CLASSES)}))
    for domain in ("photo", "sketch"):
        for split in ("train", "test"):
            streams: list[bytes] = []
            for i in range(9):
                buffer = io.BytesIO()
                picture(i).save(buffer, format="JPEG")
                streams.append(buffer.getvalue())
            offset = np.cumsum([0, *(len(s) for s in streams)])
            jpeg = np.frombuffer(b"".join(streams), dtype=np.uint8)
            np.savez(root / f"{domain}_{split}.npz", jpeg=jpeg, offset=offset, label=np.arange(9) % 3)
    return root


def counts(found) -> dict[str, int]:
    total: dict[str, int] = {}
    for _, labels in found:
        for domain, label in labels.items():
            total[domain] = total.get(domain, 0) + len(label)
    return total


def test_folders_of_classes(tmp_path: Path) -> None:
    data = domains(root=str(folders(tmp_path)), size=(8, 12), batch=2)
    assert data.channels == {"photo": 3, "sketch": 3}
    assert data.classes["photo"] == CLASSES
    x, y = next(iter(data.train))
    assert {d: tuple(v.shape) for d, v in x.items()} == {"photo": (2, 3, 8, 12), "sketch": (2, 3, 8, 12)}
    assert all(label.dtype == torch.int64 for label in y.values())
    frames = domain_images(root=str(tmp_path))
    for images in frames.values():
        parts = [set(images.splits[s]) for s in ("train", "val", "test")]
        assert set().union(*parts) == set(range(3 * COUNT))
        assert sum(map(len, parts)) == 3 * COUNT
        assert {images.labels[i] for i in images.splits["val"]} == {0, 1, 2}
    assert counts(data.test) == {d: len(f.splits["test"]) for d, f in frames.items()}


def test_the_split_by_hash_is_the_same_wherever_the_folder_lies(tmp_path: Path) -> None:
    a, b = (folders(tmp_path / name) for name in ("a", "b"))
    one, other = domain_images(root=str(a)), domain_images(root=str(b))
    assert one["photo"].splits == other["photo"].splits


def test_folders_with_their_own_split(tmp_path: Path) -> None:
    frames = domain_images(root=str(folders(tmp_path, ("train", "test"))), size=(8, 8))
    test = [frames["photo"].names[i] for i in frames["photo"].splits["test"]]
    assert len(test) == 3 * COUNT
    assert all("/test/" in name for name in test)


def test_the_lists_of_pacs(tmp_path: Path) -> None:
    folders(tmp_path)
    for domain in ("photo", "sketch"):
        parts = {"train": range(6), "crossval": range(6, 8), "test": range(8, 10)}
        for split, chosen in parts.items():
            lines = [f"{domain}/{c}/{i}.png {n + 1}" for n, c in enumerate(CLASSES) for i in chosen]
            (tmp_path / f"{domain}_{split}_kfold.txt").write_text("\n".join(lines) + "\n")
    frames = domain_images(root=str(tmp_path))
    assert len(frames["photo"].splits["test"]) == 6
    assert all(frames["photo"].names[i][-5] in "89" for i in frames["photo"].splits["test"])
    listed = tmp_path / "photo_test_kfold.txt"
    listed.write_text("photo/cat/99.png 1\n")
    with pytest.raises(FileNotFoundError, match=r"99\.png, which is absent"):
        domain_images(root=str(tmp_path))


def test_packed_archives(tmp_path: Path) -> None:
    data = domains(root=str(packed(tmp_path)), size=(8, 8), batch=2, tasks=["sketch"])
    assert list(data.channels) == ["sketch"]
    assert counts(data.test) == {"sketch": 9}


@pytest.mark.parametrize("workers", [0, 2])
def test_batch_k_is_a_function_of_seed_and_k(tmp_path: Path, workers: int) -> None:
    root = str(folders(tmp_path))
    data = domains(root=root, size=(8, 8), batch=4, seed=3, workers=workers)
    again = domains(root=root, size=(8, 8), batch=4, seed=3, cache=0.0)
    first = data.train.from_step(0)
    batches = [next(first) for _ in range(9)]
    for k in (0, 4, 8):
        x, y = next(again.train.from_step(k))
        for domain in x:
            assert torch.equal(x[domain], batches[k][0][domain])
            assert torch.equal(y[domain], batches[k][1][domain])
    assert not torch.equal(batches[0][0]["photo"], batches[1][0]["photo"])


def test_each_domain_keeps_its_own_epochs_and_ends_alone(tmp_path: Path) -> None:
    folders(tmp_path)
    for path in (tmp_path / "sketch").rglob("*.png"):
        if int(path.stem) % 3:
            path.unlink()
    data = domains(root=str(tmp_path), size=(8, 8), batch=2, augment=False)
    frames = domain_images(root=str(tmp_path), size=(8, 8))
    assert counts(data.val) == {d: len(f.splits["val"]) for d, f in frames.items()}
    tested = {d: -(-len(f.splits["test"]) // 2) for d, f in frames.items()}
    assert tested["photo"] > tested["sketch"]
    batches = list(data.test)
    assert list(batches[-1][0]) == ["photo"]
    assert sum("sketch" in x for x, _ in batches) == tested["sketch"]


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is no folder"):
        domains(root=str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match="holds no domains"):
        domains(root=str(tmp_path))
    root = folders(tmp_path / "a")
    (root / "cartoon").mkdir()
    with pytest.raises(FileNotFoundError, match=r"cartoon has no images"):
        domains(root=str(root))
    (root / "cartoon").rmdir()
    with pytest.raises(ValueError, match=r"domains in .* are \['photo', 'sketch'\]"):
        domains(root=str(root), tasks=["clipart"])
    with pytest.raises(ValueError, match=r"test_share=1\.5"):
        domains(root=str(root), test_share=1.5)
    with pytest.raises(ValueError, match=r"Domain 'photo'.* do not fill one batch of 64"):
        domains(root=str(root), batch=64)
    broken = root / "photo" / "cat" / "3.png"
    broken.write_bytes(broken.read_bytes()[:40])
    with pytest.raises(ValueError, match=r"3\.png is corrupt"):
        domains(root=str(root), batch=2)
    broken.write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"1 images of .*photo are empty"):
        domains(root=str(root), batch=2)
    half = folders(tmp_path / "b", ("train",))
    with pytest.raises(FileNotFoundError, match="not the other of train and test"):
        domains(root=str(half))


def test_bad_archives(tmp_path: Path) -> None:
    root = packed(tmp_path)
    path = root / "photo_test.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    with pytest.raises(ValueError, match=r"photo_test\.npz cannot be read"):
        domains(root=str(root))
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"photo_test\.npz is missing"):
        domains(root=str(root))
    path.write_bytes(whole)
    (root / "meta.json").write_text(json.dumps({"classes": ["cat"]}))
    with pytest.raises(ValueError, match=r"names 1 classes"):
        domains(root=str(root))
    (root / "meta.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"meta\.json is missing"):
        domains(root=str(root))


@pytest.mark.skipif(not PACS.is_dir(), reason="the data of PACS are not beside the project")
def test_pacs_as_packed() -> None:
    frames = domain_images(root=str(PACS))
    assert list(frames) == ["art_painting", "cartoon", "photo", "sketch"]
    assert sum(len(images) for images in frames.values()) == 9991
    assert all(len(images.classes) == 7 for images in frames.values())
    sample = frames["sketch"][0]
    assert sample["image"].shape == (3, 64, 64)
