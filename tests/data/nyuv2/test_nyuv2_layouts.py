"""The layouts of others hold the same made-up frames; how they are told apart."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from miniatures.nyuv2 import LAYOUTS, SETTINGS, SPLITS, Make, adashare, frame, mtan
from miniatures.nyuv2_own import write_archive
from secateur.data.nyuv2 import nyuv2


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


@pytest.mark.parametrize("count", [0, 2])
def test_the_archive_layout_needs_one_archive(tmp_path: Path, count: int) -> None:
    for i in range(count):
        write_archive(tmp_path).rename(tmp_path / f"{i}.npz")
    with pytest.raises(ValueError, match=rf"holds {count} .npz archives.*; layout 'archive' needs one. Give"):
        nyuv2(root=str(tmp_path), layout="archive", **SETTINGS)
