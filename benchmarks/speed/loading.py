"""How long a batch takes to load beside the training step it feeds, for every data set.

    OMP_NUM_THREADS=1 python benchmarks/speed/loading.py --data data

NYU-v2 and PACS are read from ``--data`` (nyuv2_160x120, pacs_64) and skipped where absent; of the sets that are too large to lie
around, files of their real sizes and formats are generated (loading_files.py). Each is timed decoded in memory
(``cache`` as it is) and decoded at every use (``cache=0``), or kept and drawn anew where it is built in, in this process and
with two workers, against a training step of the smallest network that this project trains on it (width 0.125 or 0.25): with any larger
one the loader matters less. Writes docs/results/loading.json.
"""

from __future__ import annotations

import argparse
import inspect
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

import loading_files as files
from loading_files import Options
from secateur import data as sets
from secateur.data import Data
from secateur.problem import Problem
from secateur.zoo import deeplab_resnet34, lim_resnetd50, separate_bottom, shared_bottom, video_captioner

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"
Make = Callable[..., Data]
Model = Callable[[Data], torch.nn.Module]
Job = tuple[str, Make, Options, Model]


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
    problem = Problem(model, data.tasks, data.train)
    optimizer = torch.optim.Adam(model.parameters())
    times: list[float] = []
    for _ in range(6):
        began = time.perf_counter()
        found = problem.predict(x, targets)
        sum(data.tasks[task].loss(p, targets[task]) for task, p in found.items()).backward()  # pyright: ignore[reportAttributeAccessIssue]
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def measure(make: Make, options: Options, model: Model) -> dict[str, float]:
    """Seconds a batch of 16 with no and with two workers, of a step, and the ratios."""
    options = {**options, "batch": 16}
    made = make(**options)
    found = {"step": step_seconds(made, model(made))}
    for workers in (0, 2) if "workers" in inspect.signature(make).parameters else (0,):
        at_work = {"workers": workers} if workers else {}
        seconds = batch_seconds(make(**options, **at_work), 12)
        found |= {f"batch_{workers}_workers": seconds, f"ratio_{workers}_workers": seconds / found["step"]}
    return found


def dense(data: Data) -> torch.nn.Module:
    """For pixels."""
    return deeplab_resnet34(data.channels, 0.125)


def faces(data: Data) -> torch.nn.Module:
    """For pixels and attributes."""
    return lim_resnetd50(data.channels, 0.125, classify=[t for t in data.channels if t != "seg"])


def apart(data: Data) -> torch.nn.Module:
    """For domains with images of their own."""
    return separate_bottom(data.channels, width=0.25)


def together(data: Data) -> torch.nn.Module:
    """For several labels of the same images."""
    return shared_bottom(data.channels, width=0.25)


def captioner(data: Data) -> torch.nn.Module:
    """For clips."""
    x, _ = next(iter(data.train))
    return video_captioner(data.channels, features=x["features"].shape[-1], width=64)


def jobs(data: Path, folder: Path) -> Iterator[Job]:
    """Every data set in every way that it is read, those built in first."""
    kept, drawn = {"train_count": 64}, {"train_count": 2048}  # four batches, or more than are timed
    yield "rooms, kept", sets.rooms, kept, dense
    yield "rooms, drawn", sets.rooms, drawn, dense
    yield "stories, kept", sets.stories, kept, captioner
    yield "stories, drawn", sets.stories, drawn, captioner
    yield "captions, read at every use", sets.captions, files.captions(folder / "captions"), captioner
    found: list[Job] = []
    if (data / "nyuv2_160x120").is_dir():
        found.append(("nyuv2", sets.nyuv2, {"root": str(data / "nyuv2_160x120")}, dense))
    if (data / "pacs_64").is_dir():
        found.append(("domains", sets.domains, {"root": str(data / "pacs_64")}, apart))
    found.append(("hf_images", sets.hf_images, files.hf_images(folder / "hf_images"), together))
    found.append(("taskonomy", sets.taskonomy, files.taskonomy(folder / "taskonomy"), dense))
    found.append(("celebamask", sets.celebamask, files.celebamask(folder / "celebamask"), faces))
    streets = files.cityscapes(folder / "cityscapes")
    found.append(("cityscapes", sets.cityscapes, streets, dense))
    for name, make, options, model in found:
        yield f"{name}, in memory", make, options, model
        yield f"{name}, decoded at every use", make, {**options, "cache": 0.0}, model
    large = {**streets, "size": (384, 768), "cache": 0.0}
    yield "cityscapes 384x768, decoded at every use", sets.cityscapes, large, dense


def main() -> None:
    """Measures and writes the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of nyuv2_160x120 and pacs_64")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, make, settings, model in jobs(options.data, Path(folder)):
            found[name] = measure(make, settings, model)
            print(name, {key: round(value, 4) for key, value in found[name].items()}, flush=True)
    record = {
        "command": "OMP_NUM_THREADS=1 python benchmarks/speed/loading.py",
        "machine": f"{platform.processor() or platform.machine()}, two cores, one thread a process",
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "batch": 16,
        "generated": ["captions", "hf_images", "taskonomy", "celebamask", "cityscapes"],
        "seconds": found,
    }
    (RESULTS / "loading.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
