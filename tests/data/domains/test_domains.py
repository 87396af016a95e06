"""Folder-per-domain classification in each layout on disk, with miniature copies."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from miniatures.domains import CLASSES, COUNT, folders, picture
from secateur.data.domains import domains
from secateur.data.domains.domains import domain_images
from secateur.data.reading import load

PACS = Path(__file__).parents[4] / "shared" / "data" / "pacs_64"


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


def test_images_of_several_sizes_come_out_at_the_one_asked_for(tmp_path: Path) -> None:
    images = domain_images(root=str(folders(tmp_path)), size=(8, 12))["photo"]
    assert len({load(Path(name)).shape for name in images.names}) == COUNT
    assert {tuple(images[i]["image"].shape) for i in range(len(images))} == {(3, 8, 12)}


def test_packed_archives(tmp_path: Path) -> None:
    data = domains(root=str(packed(tmp_path)), size=(8, 8), batch=2, tasks=["sketch"])
    assert list(data.channels) == ["sketch"]
    assert counts(data.test) == {"sketch": 9}
    whole = domain_images(root=str(tmp_path), size=(8, 8))["photo"]
    copy = pickle.loads(pickle.dumps(whole))  # for workers that are spawned
    assert len(copy) == 18
    for i in (0, 9, 17):
        assert torch.equal(copy[i]["image"], whole[i]["image"])
        assert copy[i]["label"] == i % 9 % 3


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
    shares = [next(again.train.share(rank, 2).from_step(4)) for rank in (0, 1)]
    for domain, images in batches[4][0].items():
        assert torch.equal(torch.cat([x[domain] for x, _ in shares]), images)


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
    later = list(data.test.from_step(tested["sketch"] - 1))  # ends too: there is one epoch
    assert len(later) == tested["photo"] - tested["sketch"] + 1
    assert torch.equal(later[0][0]["photo"], batches[tested["sketch"] - 1][0]["photo"])


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is no folder"):
        domains(root=str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match="holds no domains"):
        domains(root=str(tmp_path))
    root = folders(tmp_path / "a")
    (root / "cartoon").mkdir()
    with pytest.raises(FileNotFoundError, match=r"cartoon has no images"):
        domains(root=str(root))
    assert list(domain_images(root=str(root), tasks=["sketch"])) == ["sketch"], "others are not read"
    (root / "cartoon").rmdir()
    with pytest.raises(ValueError, match=r"tasks=\['clipart'\]; give one or more of \['photo', 'sketch'\]"):
        domains(root=str(root), tasks=["clipart"])
    with pytest.raises(ValueError, match=r"tasks=\['photo', 'photo'\]; .*each once"):
        domains(root=str(root), tasks=["photo", "photo"])
    for cache in (-1.0, float("nan")):
        with pytest.raises(ValueError, match=f"cache={cache}; give the memory"):
            domains(root=str(root), batch=2, cache=cache)
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
    Image.fromarray(np.full((9, 9), 40000, np.uint16)).save(broken)
    with pytest.raises(ValueError, match=r"3\.png has pixels of more than 8 bits \(mode I;16\); save it as"):
        domains(root=str(root), batch=2)
    half = folders(tmp_path / "b", ("train",))
    with pytest.raises(FileNotFoundError, match="not the other of train and test"):
        domains(root=str(half))


def test_bad_archives(tmp_path: Path) -> None:
    root = packed(tmp_path)

    def failing(error: type[Exception], match: str) -> None:
        with pytest.raises(error, match=match):
            domains(root=str(root), batch=2)

    meta = root / "meta.json"
    for split in ("train", "test"):
        path = root / f"photo_{split}.npz"
        whole = path.read_bytes()
        path.write_bytes(whole[:100])
        failing(ValueError, rf"photo_{split}\.npz cannot be read as an \.npz archive")
        path.write_bytes(b"")
        failing(FileNotFoundError, rf"photo_{split}\.npz is missing or empty")
        path.unlink()
        failing(FileNotFoundError, rf"photo_{split}\.npz is missing; copy")
        path.write_bytes(whole)
    with np.load(path) as file:
        arrays = dict(file)
    for changed, match in (
        ({"label": np.r_[-1, arrays["label"][1:]]}, r"label -1, but .*meta.json names 3 classes, 0 to 2"),
        ({"label": np.r_[3, arrays["label"][1:]]}, r"label 3, but .*meta.json names 3 classes"),
        ({"label": arrays["label"][1:]}, r"labels int64\[8\], offsets int64\[10\] .* do not fit"),
        ({"offset": arrays["offset"][::-1]}, r".* do not fit; copy it again"),
        ({"jpeg": arrays["jpeg"][:-1]}, r".* do not fit; copy it again"),
        ({"label": np.array(["cat"] * 9)}, r".* do not fit; copy it again"),
    ):
        np.savez(path, **{**arrays, **changed})
        failing(ValueError, rf"photo_test\.npz: {match}")
    np.savez(path, **{name: array for name, array in arrays.items() if name != "offset"})
    failing(ValueError, r"photo_test\.npz lacks the arrays \['offset'\]")
    np.savez(path, **arrays)
    meta.write_text(json.dumps({"classes": ["cat"]}))
    failing(ValueError, r"names 1 classes")
    meta.write_text("{")
    failing(ValueError, r"meta\.json cannot be read as JSON")
    for content in ({}, [], {"classes": 3}, {"classes": []}, {"classes": [1, 2]}):
        meta.write_text(json.dumps(content))
        failing(
            ValueError, r"meta\.json must give the names of the classes, at least one, as .*mend the file"
        )
    meta.unlink()
    failing(FileNotFoundError, r"meta\.json is missing")


@pytest.mark.skipif(not PACS.is_dir(), reason="the data of PACS are not beside the project")
def test_pacs_as_packed() -> None:
    frames = domain_images(root=str(PACS))
    assert list(frames) == ["art_painting", "cartoon", "photo", "sketch"]
    assert sum(len(images) for images in frames.values()) == 9991
    assert all(len(images.classes) == 7 for images in frames.values())
    sample = frames["sketch"][0]
    assert sample["image"].shape == (3, 64, 64)
