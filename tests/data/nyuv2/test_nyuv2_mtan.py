"""NYU-v2 in MTAN's layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from miniatures.nyuv2 import H, W, failing, mtan, save


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
