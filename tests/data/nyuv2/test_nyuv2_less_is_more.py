"""NYU-v2 in the layout of Less is More."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from miniatures.nyuv2 import SETTINGS, H, W, failing, less_is_more, save
from secateur.data.nyuv2 import nyuv2


def test_less_is_more_without_a_test_list_holds_out_by_seed(tmp_path: Path) -> None:
    less_is_more(tmp_path)
    (tmp_path / "gt_sets" / "test.txt").unlink()
    data = nyuv2(root=str(tmp_path), **SETTINGS, classes=40)
    numbers = {
        name: [round((float(x[0, 0].mean()) * data.std[0] + data.mean[0]) * 255 / 20) for x, _ in part]
        for name, part in (("train", data.train), ("val", data.val), ("test", data.test))
    }
    assert numbers["test"] == [3]
    assert sorted(numbers["train"] + numbers["val"]) == [1, 2]
    assert len(numbers["val"]) == 1


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
