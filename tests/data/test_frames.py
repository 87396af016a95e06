"""What all data sets of frames share."""

from __future__ import annotations

import inspect
import io
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from secateur import data
from secateur.data import FRAMES
from secateur.data.frames import Frames, OnDisk
from secateur.data.making import Loading
from secateur.data.reading import load, load_npz, rgb
from secateur.data.splitting import held_out, shares


@pytest.mark.parametrize("name", FRAMES)
def test_frames_take_the_arguments_of_their_data_set(name: str) -> None:
    whole = inspect.signature(getattr(data, name)).parameters
    part = inspect.signature(FRAMES[name]).parameters
    assert name in data.__all__
    assert all(p.kind is p.KEYWORD_ONLY for p in part.values())
    assert set(part) <= set(whole), "doctor hands over the options of the data set"
    assert {p: whole[p].default for p in part} == {p: found.default for p, found in part.items()}


def constant(path: Path) -> Tensor:
    height, width = map(int, path.read_text().split())
    return torch.ones(3 if path.suffix == ".rgb" else 1, height, width)


def frames(folder: Path, sizes: list[str]) -> Frames:
    listed: list[dict[str, Path]] = []
    for i, size in enumerate(sizes):
        image, depth = folder / f"{i}.rgb", folder / f"{i}.depth"
        image.write_text(size)
        depth.write_text(size)
        listed.append({"image": image, "depth": depth, "unread": folder / "nowhere"})
    return Frames(listed, {"image": constant, "depth": constant}, (4, 6), source=folder / "list.txt")


def test_frames_of_any_size_are_resized_but_the_fields_of_one_must_agree(tmp_path: Path) -> None:
    found = frames(tmp_path, ["4 6", "8 12", "5 5"])
    assert isinstance(found, OnDisk)
    found.check()
    assert [tuple(found[i]["depth"].shape) for i in range(3)] == [(1, 4, 6)] * 3
    (tmp_path / "1.depth").write_text("8 11")
    with pytest.raises(
        ValueError, match=r"1.depth is 11x8 pixels, but the frame's image is 12x8; .* off .*list.txt"
    ):
        found[1]


def test_missing_files_are_counted_without_opening_any(tmp_path: Path) -> None:
    found = frames(tmp_path, ["no size"] * 5)
    found.check()
    for i in range(4):
        (tmp_path / f"{i}.depth").unlink()
    (tmp_path / "4.rgb").write_text("")
    with pytest.raises(
        FileNotFoundError, match=r"5 of the 10 files that .*list.txt .*0.depth, .*2.depth, \.\.\."
    ):
        found.check()
    with pytest.raises(FileNotFoundError, match=r"list.txt lists no frames"):
        frames(tmp_path, []).check()


def test_a_missing_file_is_not_called_corrupt(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"x.npy is missing or empty"):
        load(tmp_path / "x.npy")


@pytest.mark.parametrize("name", ["x.npy", "x.png", "x.npz"])
def test_a_flipped_byte_gives_other_values_or_an_error_that_names_the_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    array = np.arange(24, dtype=np.uint8).reshape(4, 6)
    if name == "x.png":
        Image.fromarray(array).save(path)
    else:
        (np.save if name == "x.npy" else np.savez)(path, array)
    whole, said = path.read_bytes(), list[str]()
    for place in range(len(whole)):
        for flipped in (0x01, 0x80):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ flipped]) + whole[place + 1 :])
            try:
                load_npz(path, ["arr_0"]) if name == "x.npz" else load(path)
            except ValueError as error:
                said.append(str(error))
    assert len(said) > 20
    assert all(name in message for message in said)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK"])
def test_pictures_of_eight_bits_become_rgb(mode: str) -> None:
    assert rgb(encoded(Image.new("RGB", (6, 4), (200, 200, 200)).convert(mode)), "x").shape == (4, 6, 3)


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_pictures_of_more_bits_are_refused(mode: str) -> None:
    made = Image.fromarray(np.full((4, 6), 300, {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]))
    with pytest.raises(ValueError, match=rf"^row 3 has pixels of more than 8 bits \(mode {mode}\); save it"):
        rgb(encoded(made), "row 3")


def encoded(image: Image.Image) -> io.BytesIO:
    content = io.BytesIO()
    image.save(content, "TIFF")
    return content


def test_shares_part_all_samples_by_seed() -> None:
    parts = shares(11, (0.6, 0.2, 0.2), 0)
    assert [len(part) for part in parts] == [7, 2, 2]
    assert sorted(i for part in parts for i in part) == list(range(11))
    assert parts == shares(11, (0.6, 0.2, 0.2), 0) != shares(11, (0.6, 0.2, 0.2), 1)
    assert held_out(5, 2, 0) == held_out(5, 2, 0)


def test_a_negative_seed_is_said_in_our_words() -> None:
    loading = partial(Loading, (4, 4), 2)
    for draw in (partial(held_out, 5, 2), partial(shares, 5, (0.5, 0.5)), loading):
        with pytest.raises(ValueError, match=r"^seed=-1; give a whole number of at least 0"):
            draw(seed=-1)
