"""Generated files of the real sizes and formats of data sets that are too large to lie around: smooth pictures with some noise."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

FRAMES = 40
Options = dict[str, Any]


def smooth(
    rng: np.random.Generator, height: int, width: int, top: int, channels: int = 3, noise: float = 0.01
) -> Any:
    """A picture of blobs with some noise, (height, width[, channels]) in 0 to ``top``; it compresses as photographs do."""
    coarse = (rng.random((9, 12, channels)) * 255).astype(np.uint8)
    planes = [
        np.asarray(Image.fromarray(coarse[..., c]).resize((width, height), Image.Resampling.BICUBIC))
        for c in range(channels)
    ]
    picture = np.stack(planes, -1) / 255 + noise * rng.standard_normal((height, width, channels))
    return (picture.clip(0, 1) * top).squeeze()


def save(path: Path, array: Any, dtype: type) -> None:
    """As PNG or, by the ending, JPEG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array).astype(dtype)).save(path)


def cityscapes(root: Path) -> Options:
    """2048x1024 frames."""
    rng = np.random.default_rng(0)
    for split, count in (("train", FRAMES), ("val", 16)):
        for i in range(count):
            name = f"aachen_{i:06d}"
            place = f"{split}/aachen/{name}"
            save(root / f"leftImg8bit/{place}_leftImg8bit.png", smooth(rng, 1024, 2048, 255), np.uint8)
            save(root / f"gtFine/{place}_gtFine_labelIds.png", smooth(rng, 1024, 2048, 33, 1, 0), np.uint8)
            save(root / f"disparity/{place}_disparity.png", smooth(rng, 1024, 2048, 30000, 1), np.uint16)
    return {"root": str(root), "size": (128, 256), "val_count": 16}


def taskonomy(root: Path) -> Options:
    """512x512 frames of five tasks."""
    rng = np.random.default_rng(0)
    kinds = {"rgb": (255, 3), "segmentsemantic": (17, 1), "normal": (255, 3), "depth_zbuffer": (6000, 1)}
    kinds |= {"keypoints2d": (700, 1), "edge_texture": (9000, 1)}
    lists: dict[str, list[list[str]]] = {"train": [], "test": []}
    for i in range(FRAMES + 16):
        row = [f"house/{kind}/point_{i}_view_0_domain_{kind}.png" for kind in kinds]
        for path, (top, channels) in zip(row, kinds.values(), strict=True):
            noise = 0.0 if "segment" in path else 0.01
            save(
                root / path, smooth(rng, 512, 512, top, channels, noise), np.uint16 if top > 255 else np.uint8
            )
        lists["train" if i < FRAMES else "test"].append(row)
    (root / "taskonomy.json").write_text(json.dumps(lists))
    return {"root": str(root), "size": (128, 128), "val_count": 16, "prior": False}


def celebamask(root: Path) -> Options:
    """1024x1024 faces with masks of 512x512: skin and hair, which are read, and three others."""
    rng = np.random.default_rng(0)
    lines = [str(2 * FRAMES), "Male Smiling"]
    for i in range(2 * FRAMES):
        save(root / f"CelebA-HQ-img/{i}.jpg", smooth(rng, 1024, 1024, 255), np.uint8)
        for part in ("skin", "hair", "nose", "l_eye", "r_eye"):
            mask = np.repeat((smooth(rng, 512, 512, 255, 1, 0) > 128)[..., None] * 255, 3, -1)
            save(root / f"CelebAMask-HQ-mask-anno/0/{i:05d}_{part}.png", mask, np.uint8)
        lines.append(f"{i}.jpg  1 {1 if i % 2 else -1}")
    (root / "CelebAMask-HQ-attribute-anno.txt").write_text("\n".join(lines) + "\n")
    return {"root": str(root), "size": (128, 128)}


def hf_images(root: Path) -> Options:
    """Two labels of JPEG files of 400x300, as ``datasets.save_to_disk`` writes them."""
    import pyarrow as pa

    rng = np.random.default_rng(0)
    kinds = {"image": {"_type": "Image"}, "kind": {"names": ["a", "b", "c"], "_type": "ClassLabel"}}
    kinds["legs"] = {"dtype": "int64", "_type": "Value"}
    about = {"huggingface": json.dumps({"info": {"features": kinds}})}
    splits = {"train": 4 * FRAMES, "validation": 16, "test": 16}
    for split, count in splits.items():
        images: list[dict[str, Any]] = []
        for i in range(count):
            buffer = io.BytesIO()
            Image.fromarray(smooth(rng, 300, 400, 255).astype(np.uint8)).save(buffer, "JPEG")
            images.append({"bytes": buffer.getvalue(), "path": f"{i}.jpg"})
        columns = {
            "image": images,
            "kind": [i % 3 for i in range(count)],
            "legs": [i % 5 for i in range(count)],
        }
        rows = pa.table(columns).replace_schema_metadata(about)
        (root / split).mkdir(parents=True)
        with pa.ipc.new_stream(root / split / "data-00000-of-00001.arrow", rows.schema) as writer:
            writer.write_table(rows, max_chunksize=100)
        state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}
        (root / split / "state.json").write_text(json.dumps(state))
        (root / split / "dataset_info.json").write_text(json.dumps({"features": kinds}))
    (root / "dataset_dict.json").write_text(json.dumps({"splits": list(splits)}))
    return {"root": str(root), "labels": {"kind": "kind", "legs": "legs"}, "size": (128, 128)}


def captions(root: Path) -> Options:
    """Clips of 16 to 48 frames of 1024 numbers, half precision, with captions of eight words."""
    rng = np.random.default_rng(0)
    words = [f"word{chr(97 + n)}" for n in range(26)]
    entries: list[dict[str, str]] = []
    (root / "features").mkdir(parents=True)
    for i in range(8 * FRAMES):
        features = rng.standard_normal((rng.integers(16, 49), 1024)).astype(np.float16)
        np.save(root / "features" / f"clip{i}.npy", features)
        entries.append({"clip": f"clip{i}", "caption": " ".join(rng.choice(words, 8))})
    lists = {"train": entries[32:], "val": entries[:16], "test": entries[16:32]}
    (root / "captions.json").write_text(json.dumps(lists))
    return {"root": str(root)}
