"""Files that several threads read at once, and pictures of odd kinds."""

from __future__ import annotations

import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from secateur.data.reading import load, rgb


def test_two_threads_do_not_parse_headers_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CPython before 3.13 counts the depth of its parser for all threads together, and then calls a whole file corrupt."""
    path = tmp_path / "a.npy"
    np.save(path, np.arange(4))
    inside, most, read = 0, 0, np.load

    def slow(*arguments: Any, **options: Any) -> Any:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.002)
        found = read(*arguments, **options)
        inside -= 1
        return found

    monkeypatch.setattr(np, "load", slow)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(load, [path] * 12))
    assert most == 1
    assert all((array == np.arange(4)).all() for array in found)


def test_a_palette_with_transparency_is_read_without_a_word(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).quantize(16)
    image.save(tmp_path / "a.png", transparency=bytes(range(16)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = rgb(tmp_path / "a.png", "a.png")
    assert np.array_equal(found, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("name", ["a.gif", "a.tif"])
def test_of_several_pictures_in_a_file_the_first_is_taken_and_said(tmp_path: Path, name: str) -> None:
    frames = [Image.new("RGB", (8, 6), colour) for colour in ((250, 0, 0), (0, 250, 0))]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    with pytest.warns(UserWarning, match=r"b holds several pictures, of which the first is taken\."):
        found = rgb(tmp_path / name, "b")
    assert found[0, 0].tolist() == [250, 0, 0]
    frames[0].save(tmp_path / name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rgb(tmp_path / name, "b")
