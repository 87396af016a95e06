"""`secateur doctor` on a small sound copy of every data set."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from miniatures import captions, celebamask, cityscapes, hf_images, taskonomy
from miniatures.domains import folders
from miniatures.nyuv2 import LAYOUTS, Make
from miniatures.nyuv2_own import write_archive, write_folder
from secateur.cli import main
from secateur.data import FRAMES


def no_options(make: Callable[[Path], Any]) -> Make:
    return lambda root: make(root) and {}


COPIES: dict[str, tuple[str, Make]] = {
    "nyuv2 folder": ("nyuv2", no_options(write_folder)),
    "nyuv2 archive": ("nyuv2", no_options(write_archive)),
    **{f"nyuv2 {make.__name__}": ("nyuv2", make) for make in LAYOUTS},
    "taskonomy": ("taskonomy", no_options(taskonomy.written)),
    "celebamask": ("celebamask", no_options(celebamask.written)),
    "cityscapes": ("cityscapes", no_options(cityscapes.official)),
    "cityscapes mtan": ("cityscapes", no_options(cityscapes.mtan)),
    "hf_images": ("hf_images", lambda root: hf_images.parquet(root, train=[*range(1, 12)]) and HUB),
    "hf_images saved": (
        "hf_images",
        lambda root: hf_images.saved(root, train=[1, 2, 3], validation=[4], test=[5]) and HUB,
    ),
    "domains": ("domains", no_options(folders)),
    "captions": ("captions", no_options(captions.written)),
}
HUB = {"labels": "{kind: kind, depth: legs}"}


@pytest.mark.parametrize("copy", COPIES)
def test_a_small_sound_copy_of_every_data_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], copy: str
) -> None:
    name, make = COPIES[copy]
    root = tmp_path / "set"
    root.mkdir()
    options = [f"--data.{key}={value}" for key, value in make(root).items()]
    size = [] if name == "captions" else ["--size", "12x16"]
    out = tmp_path / "x.png"
    code = main(["doctor", "--data", name, "--data.root", str(root), "--out", str(out), *options, *size])
    said = capsys.readouterr()
    problems = [line for line in said.out.splitlines() if re.match(r"[a-z ]*(train|val|test)( \d+)?:", line)]
    # so few samples show not every class; nothing else is wrong with them
    assert all(re.fullmatch(r"[a-z ]*train: no \w+ of class [\d, ]+\.", line) for line in problems), problems
    assert (code, "nothing wrong was found" in said.out) == ((1, False) if problems else (0, True))
    assert f"{len(problems)} problem" in said.err or not problems
    assert out.exists()


def test_a_number_that_was_asked_for_is_not_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["doctor", "--data", "nyuv2", "--data.root", str(write_folder(tmp_path / "set"))]
    argv += ["--size", "12x16", "--out", str(tmp_path / "x.png")]
    main(argv)
    assert "val_count is 1 here, for there are only 6 training samples" in capsys.readouterr().out
    assert main([*argv, "--data.val_count", "70"]) == 1
    assert "--data.val_count 70, but there are 6 training frames" in capsys.readouterr().err


def test_no_data_set_of_files_is_left_out() -> None:
    assert {name for name, _ in COPIES.values()} == set(FRAMES) - {"rooms", "stories"}
