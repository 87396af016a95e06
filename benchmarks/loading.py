"""How long a batch takes to load beside the training step it feeds, for every data set.

    OMP_NUM_THREADS=1 python benchmarks/loading.py --data data

NYU-v2 and PACS are read from ``--data`` (nyuv2_160x120, pacs_64) and skipped where absent; of the sets that are too large to lie
around, files of their real sizes and formats are generated, smooth pictures with some noise. Each is timed decoded in memory
(``cache`` as it is) and decoded at every use (``cache=0``), in this process and with two workers, against a training step of
Deeplab-ResNet34 (or a classifier) at width 0.125, the smallest that this project trains: with any larger one the loader
matters less. Writes docs/results/loading.json.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from secateur import data as sets
from secateur.data import Data
from secateur.problem import predict
from secateur.zoo import deeplab_resnet34, lim_resnetd50, separate_bottom

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"
FRAMES = 40  # of a generated set
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
    """1024x1024 faces with fifteen masks of 512x512."""
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


def batch_seconds(data: Data, batches: int) -> float:
    """Mean time of a training batch once the loader runs."""
    loader: Iterator[Any] = data.train.from_step(0)  # pyright: ignore[reportAttributeAccessIssue]
    for _ in range(4):
        next(loader)
    began = time.perf_counter()
    for _ in range(batches):
        next(loader)
    return (time.perf_counter() - began) / batches


def step_seconds(data: Data, model: torch.nn.Module) -> float:
    """Median time of forward and backward pass and Adam."""
    x, targets = next(iter(data.train))
    optimizer = torch.optim.Adam(model.parameters())
    times: list[float] = []
    for _ in range(6):
        began = time.perf_counter()
        found = predict(model, x, targets, data.tasks)
        sum(data.tasks[task].loss(p, targets[task]) for task, p in found.items()).backward()  # pyright: ignore[reportAttributeAccessIssue]
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def measure(
    make: Callable[..., Data], options: Options, model: Callable[[Data], torch.nn.Module], cached: bool
) -> dict[str, float]:
    """Seconds a batch of 16 with no and with two workers, of a step, and the ratios."""
    cache: Options = {} if cached else {"cache": 0.0}
    step = step_seconds(make(**options, **cache), model(make(**options, **cache)))
    found = {"step": step}
    for workers in (0, 2):
        seconds = batch_seconds(make(**options, **cache, workers=workers), 12)
        found |= {f"batch_{workers}_workers": seconds, f"ratio_{workers}_workers": seconds / step}
    return found


def main() -> None:
    """Measures and writes the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of nyuv2_160x120 and pacs_64")
    options = parser.parse_args()
    torch.set_num_threads(1)

    def dense(data: Data) -> torch.nn.Module:
        return deeplab_resnet34(data.channels, 0.125)

    def faces(data: Data) -> torch.nn.Module:
        return lim_resnetd50(data.channels, 0.125, classify=[t for t in data.channels if t != "seg"])

    def apart(data: Data) -> torch.nn.Module:
        return separate_bottom(data.channels, width=0.25)

    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        jobs: list[tuple[str, Callable[..., Data], Options, Callable[[Data], torch.nn.Module]]] = []
        if (options.data / "nyuv2_160x120").is_dir():
            jobs.append(("nyuv2", sets.nyuv2, {"root": str(options.data / "nyuv2_160x120")}, dense))
        if (options.data / "pacs_64").is_dir():
            jobs.append(("domains", sets.domains, {"root": str(options.data / "pacs_64")}, apart))
        jobs.append(("taskonomy", sets.taskonomy, taskonomy(Path(folder) / "taskonomy"), dense))
        jobs.append(("celebamask", sets.celebamask, celebamask(Path(folder) / "celebamask"), faces))
        jobs.append(("cityscapes", sets.cityscapes, cityscapes(Path(folder) / "cityscapes"), dense))
        for name, make, settings, model in jobs:
            for cached in (True, False):
                row = measure(make, settings, model, cached)
                found[f"{name}, {'in memory' if cached else 'decoded at every use'}"] = row
                print(name, cached, {key: round(value, 4) for key, value in row.items()}, flush=True)
    record = {
        "command": "OMP_NUM_THREADS=1 python benchmarks/loading.py",
        "machine": f"{platform.processor() or platform.machine()}, two cores, one thread a process",
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "batch": 16,
        "generated": ["taskonomy", "celebamask", "cityscapes"],
        "seconds": found,
    }
    (RESULTS / "loading.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
