from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from miniatures.taskonomy import FOLDERS, SETTINGS, H, W, stored, written
from secateur.data import lists
from secateur.data.taskonomy import CLASSES, TASKS, taskonomy, taskonomy_frames


@pytest.mark.parametrize("reordered", [False, True])
def test_values_are_decoded_as_documented(tmp_path: Path, reordered: bool) -> None:
    data = taskonomy(root=str(written(tmp_path, reordered)), **SETTINGS)
    assert data.channels == {"seg": 17, "normal": 3, "depth": 1, "keypoint": 1, "edge": 1}
    assert data.classes == {"seg": CLASSES}
    assert (len(data.train), len(list(data.val))) == (2, 1)
    for number, (image, targets) in zip((4, 5), data.test, strict=True):
        made = stored(number)
        assert float(image[0, 0].mean()) * data.std[0] + data.mean[0] == pytest.approx(
            20 * number / 255, abs=1e-5
        )
        label = made["segmentsemantic"].astype(np.int64) - 1
        assert targets["seg"][0].tolist() == np.where(label < 0, 255, label).tolist()
        raw = made["depth_zbuffer"]
        encoded = np.where(raw < 64500, np.log(1.0 + raw) / math.log(65536), -1.0)
        np.testing.assert_allclose(targets["depth"][0, 0], encoded, atol=1e-6)
        for task, name, top in (("keypoint", "keypoints2d", 0.005), ("edge", "edge_texture", 0.08)):
            published = np.clip(made[name] / 65536, 0, top) / top * 2 - 1
            np.testing.assert_allclose(targets[task][0, 0] * 2 - 1, published, atol=2e-3)
        valid = torch.tensor(raw < 64500)
        assert torch.equal(targets["normal"][0].norm(dim=0) > 0.5, valid)
        normal = torch.tensor(made["normal"] / 127.5 - 1).permute(2, 0, 1).float()
        assert float((targets["normal"][0] * F.normalize(normal, dim=0)).sum(0)[valid].min()) > 0.999


def test_frames_hold_depth_in_metres_and_only_what_was_asked_for(tmp_path: Path) -> None:
    splits = taskonomy_frames(
        root=str(written(tmp_path)), tasks=("depth", "normal"), size=(H, W), val_count=1
    )
    sample = splits["test"][0]
    assert set(sample) == {"image", "depth", "normal"}
    assert float(sample["depth"][0, 0, 0]) == pytest.approx(64499 / 512)
    assert float(sample["depth"][0, 0, 1]) == 0.0
    only = taskonomy_frames(root=str(tmp_path), tasks=("normal",), size=(H, W), val_count=1)
    assert set(only["test"][0]) == {"image", "normal"}


def test_the_list_is_read_once_and_kept_without_objects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    monkeypatch.setattr(
        lists, "read_json", lambda source: read.append(source) or json.loads(source.read_text())
    )
    splits = taskonomy_frames(root=str(written(tmp_path)), tasks=("seg",), val_count=1)
    assert read == [tmp_path / "taskonomy.json"]
    columns = splits["test"].frames.columns  # type: ignore[attr-defined]
    assert {f: (array.dtype.kind, len(array)) for f, array in columns.items()} == {
        "image": ("S", 2),
        "seg": ("S", 2),
    }


def test_metrics_are_the_published_ones_and_losses_finite(tmp_path: Path) -> None:
    data = taskonomy(root=str(written(tmp_path)), **SETTINGS)
    assert {task: list(found.metrics) for task, found in data.tasks.items()} == {
        task: ["cosine" if task == "normal" else "error"] for task in TASKS
    }
    _, targets = next(iter(data.train))
    for name, task in data.tasks.items():
        prediction = torch.randn(1, data.channels[name], H, W)
        loss = task.loss(prediction, targets[name])
        (metric,) = task.metrics.values()
        metric.update(prediction, targets[name])
        value = float(metric.compute())
        assert float(loss) == pytest.approx(1 - value if name == "normal" else value, rel=1e-4)


def test_the_prior_weighs_loss_and_metric(tmp_path: Path) -> None:
    weights = np.linspace(0.1, 3, 17)
    np.save(written(tmp_path) / "semseg_prior_factor.npy", weights)
    settings = {**SETTINGS, "root": str(tmp_path), "tasks": ("seg",)}
    seg, plain = (taskonomy(**settings, prior=prior).tasks["seg"] for prior in (True, False))
    logits, labels = torch.randn(2, 17, 4, 4), torch.randint(0, 17, (2, 4, 4))
    labels[0, 0] = 255
    expected = F.cross_entropy(logits, labels, torch.tensor(weights).float(), ignore_index=255)
    torch.testing.assert_close(seg.loss(logits, labels), expected)
    seg.metrics["error"].update(logits, labels)
    assert float(seg.metrics["error"].compute()) == pytest.approx(float(expected), rel=1e-5)
    torch.testing.assert_close(plain.loss(logits, labels), F.cross_entropy(logits, labels, ignore_index=255))
    assert float(seg.loss(logits, torch.full_like(labels, 255))) == 0.0
    path = tmp_path / "semseg_prior_factor.npy"
    for wrong, kind in (
        (weights[:5], r"float64 of shape \(5,\)"),
        (np.zeros(17), "float64"),
        (np.full(17, np.inf), "float64"),
        (np.array(["1"] * 17), "<U1"),
    ):
        np.save(path, wrong)
        with pytest.raises(ValueError, match=rf"factor.npy must hold 17 weights.* is {kind}.*prior=false"):
            taskonomy(**settings)
        with pytest.raises(ValueError, match=r"factor.npy must hold 17 weights"):
            taskonomy_frames(root=str(tmp_path), tasks=("seg",), val_count=1)  # the doctor reads these
        assert taskonomy_frames(root=str(tmp_path), tasks=("depth",), val_count=1)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"semseg_prior_factor.npy is missing; .*prior=false"):
        taskonomy(**settings)
    assert taskonomy(**settings, prior=False)


def test_a_copy_that_is_broken(tmp_path: Path) -> None:
    def failing(error: type[Exception], match: str, **changes: Any) -> None:
        with pytest.raises(error, match=match):
            taskonomy(root=str(tmp_path), **{**SETTINGS, **changes})

    failing(FileNotFoundError, "taskonomy.json is missing")
    written(tmp_path)
    house = tmp_path / "house0"
    named = "point_4_view_0_domain_{}.png".format

    def save(task: str, array: np.ndarray) -> None:
        Image.fromarray(array).save(house / task / named(task))

    for task in FOLDERS:
        path = house / task / named(task)
        kept = path.read_bytes()
        path.write_bytes(kept[: len(kept) // 2])
        failing(ValueError, f"domain_{task}.png is corrupt")
        path.unlink()
        failing(FileNotFoundError, f"1 of the 12 files that .*json .*domain_{task}.png")
        path.write_bytes(kept)
    save("segmentsemantic", np.full((H, W), 18, np.uint8))
    failing(ValueError, "semantic.png: label 18; with 17 classes labels are 1 to 17, or 0, 255 to ignore")
    save("segmentsemantic", np.ones((H, W), np.uint8))
    save("edge_texture", np.zeros((H, W), np.uint8))
    failing(ValueError, "edge_texture.png: uint8; the map must be 16-bit")
    save("edge_texture", np.zeros((H, 2 * W), np.uint16))
    failing(ValueError, "edge_texture.png is 32x12 pixels, but the frame's image is 16x12")
    failing(ValueError, "tasks=.*colour", tasks=("colour",))
    assert taskonomy(root=str(tmp_path), **SETTINGS, tasks=("depth",))
    rows = json.loads((tmp_path / "taskonomy.json").read_text())
    rows["test"].append([f"nowhere/{task}/x.png" for task in FOLDERS])
    (tmp_path / "taskonomy.json").write_text(json.dumps(rows))
    failing(FileNotFoundError, "6 of the 18 files .*nowhere/rgb/x.png")
    rows["test"] = [["house0/rgb/x.png"]]
    (tmp_path / "taskonomy.json").write_text(json.dumps(rows))
    failing(ValueError, "'test' must list at least one frame, each of 6 paths")
