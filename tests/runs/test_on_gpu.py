"""What makes trainings on a GPU fast computes the same; what needs the GPU itself is not run here."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

BENCHMARKS = Path(__file__).parents[2] / "benchmarks" / "gpu"


@pytest.fixture
def graphed(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("graphed")


@pytest.mark.parametrize("dilation", [2, 6, 9, 24])
@pytest.mark.parametrize("size", [(8, 10), (15, 6)])
def test_gathered_pixels_are_a_dilated_convolution(
    graphed: Any, size: tuple[int, int], dilation: int
) -> None:
    x = torch.randn(2, 3, *size, dtype=torch.double, requires_grad=True)
    weight = torch.randn(4, 3, 3, 3, dtype=torch.double, requires_grad=True)
    y, same = graphed.atrous(x, weight, dilation), F.conv2d(x, weight, padding=dilation, dilation=dilation)
    torch.testing.assert_close(y, same)
    along = torch.randn_like(y)
    ours, theirs = (torch.autograd.grad(out, (x, weight), along) for out in (y, same))
    torch.testing.assert_close(ours, theirs)


def test_only_dilated_convolutions_that_keep_the_size_are_gathered(graphed: Any) -> None:
    kept = nn.Conv2d(4, 4, 3, padding=2, dilation=2)
    others = [
        nn.Conv2d(4, 4, 3, padding=1),
        nn.Conv2d(4, 4, 3, padding=1, dilation=2),
        nn.Conv2d(4, 4, 3, 2, padding=2, dilation=2),
        nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=2),
        nn.Conv2d(4, 4, 3, padding=2, dilation=2, padding_mode="reflect"),
        nn.Conv2d(4, 4, 5, padding=4, dilation=2),
    ]
    assert graphed.is_atrous(kept)
    assert not any(map(graphed.is_atrous, others))


def test_a_threshold_outside_the_network_is_found(graphed: Any) -> None:
    layer, threshold = nn.Linear(3, 2), nn.Parameter(torch.tensor(0.1))
    found = graphed._leaves({"a": layer(torch.ones(1, 3)) * threshold})
    assert {id(leaf) for leaf in found} == {id(layer.weight), id(layer.bias), id(threshold)}


def test_without_a_gpu_the_network_is_called(graphed: Any) -> None:
    network = nn.Linear(3, 2)
    x = torch.randn(4, 3)
    assert torch.equal(graphed.Graphed(network)(x), network(x))


def test_a_plan_is_trained_in_its_order(graphed: Any, tmp_path: Path) -> None:
    on_gpu = importlib.import_module("on_gpu")
    out = tmp_path / "runs"
    (tmp_path / "plan.txt").write_text(
        f"# the first\nsecateur compare dense magnitude --density 0.1 --seeds 2 --out {out}\n"
        f"secateur compare dense snip --density 0.2 --workers 3 --out {out}\n"
    )
    jobs = on_gpu.jobs_of(tmp_path / "plan.txt")
    names = [job.path.name.split("-seg")[0] + job.path.name[-2:] for job in jobs]
    assert names == ["denses0", "denses1", "magnitude-d0.1s0", "magnitude-d0.1s1", "snip-d0.2s0"]
    assert [job.workers for job in jobs] == [0, 0, 0, 0, 3]


def frames(root: Path) -> None:
    """NYU-v2 of six frames of 7x5, with depths up to the highest and noise, which nothing predicts."""
    draw = np.random.default_rng(0)
    for split, numbers in {"train": (3, 9, 12, 20), "test": (1, 4)}.items():
        for kind in ("rgb", "seg13", "depth", "normal"):
            (root / split / kind).mkdir(parents=True)
        for number in numbers:
            photo = Image.fromarray(draw.integers(0, 256, (5, 7, 3), np.uint8))
            photo.save(root / split / "rgb" / f"{number:04}.jpg")
            made = {
                "seg13": draw.integers(0, 13, (5, 7), np.uint8),
                "depth": draw.integers(0, 2**14, (5, 7), np.uint16) * 4,
                "normal": draw.integers(0, 86, (5, 7, 3), np.uint8) * 3,
            }
            for kind, values in made.items():
                Image.fromarray(values).save(root / split / kind / f"{number:04}.png")
        (root / f"{split}.txt").write_text("".join(f"{number:04}\n" for number in numbers))
    (root / "meta.json").write_text(json.dumps({}))


def pixels(root: Path) -> dict[str, bytes]:
    """Of all files, what they show."""
    found = {}
    for file in sorted(path for path in root.rglob("*") if path.is_file()):
        shown = np.asarray(Image.open(file)) if file.suffix in {".png", ".jpg"} else None
        content = file.read_bytes() if shown is None else shown.tobytes() + str(shown.dtype).encode()
        found[file.relative_to(root).as_posix()] = content
    return found


def test_packed_frames_come_back(graphed: Any, tmp_path: Path) -> None:
    packed = importlib.import_module("packed")
    frames(tmp_path / "data")
    packed.pack(tmp_path / "data", tmp_path / "packed")
    packed.unpack(tmp_path / "packed", tmp_path / "back")
    assert pixels(tmp_path / "back") == pixels(tmp_path / "data")


def test_frames_that_would_not_come_back_are_refused(graphed: Any, tmp_path: Path) -> None:
    packed = importlib.import_module("packed")
    frames(tmp_path / "data")
    Image.fromarray(np.full((5, 7), 1001, np.uint16)).save(tmp_path / "data" / "test" / "depth" / "0004.png")
    with pytest.raises(ValueError, match="depth has values that are no multiples of 4"):
        packed.pack(tmp_path / "data", tmp_path / "packed")


@pytest.mark.slow
def test_a_sitting_goes_on_where_another_machine_stopped(
    graphed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames(tmp_path / "data")
    importlib.import_module("packed").pack(tmp_path / "data", tmp_path / "packed")
    small = "--size 16x16 --steps 2 --batch 2 --model.width 0.0625 --data.train_count 4 --data.val_count 2 --data.test_count 2"
    plan = f"secateur compare dense magnitude --density 0.1 --seeds {{}} --data rooms {small} --device cpu --out runs/t\n"
    for machine, seeds, new in (("first", 1, 2), ("second", 2, 2)):
        out, work = tmp_path / machine, tmp_path / f"work_{machine}"
        out.mkdir()
        (tmp_path / "plan.txt").write_text(plan.format(seeds))
        monkeypatch.setenv("WORK", str(work))
        monkeypatch.setenv("PYTHON", sys.executable)
        given = [tmp_path / "packed", tmp_path / "plan.txt", "5", out, "--jobs", "2"]
        done = subprocess.run(
            ["bash", BENCHMARKS / "sitting.sh", *map(str, given)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        log = (out / "on_gpu.log").read_text()
        assert f"{new} runs\n" in log
        assert log.count("status 0") == new
        assert f"{2 * seeds} runs are finished" in log
        with tarfile.open(out / "reports.tgz") as reports:
            assert sum(name.endswith("report.json") for name in reports.getnames()) == 2 * seeds
        assert (out / "weights.tar.xz.0").stat().st_size > 100
        with (
            tarfile.open(out / "reports.tgz") as brought,
            tarfile.open(tmp_path / "packed" / "reports.tgz", "w:gz") as kept,
        ):
            for member in brought:  # what is light enough to travel again
                if not member.name.endswith("metrics.jsonl"):
                    kept.addfile(member, brought.extractfile(member))
