"""`secateur doctor` says what is wrong with a copy of a data set, and where."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

import secateur.data
from miniatures.domains import folders
from secateur.cli import main
from secateur.data import FRAMES
from secateur.data.augment import Sample
from secateur.data.doctor import examine, picture


class Samples(Dataset[Sample]):
    def __init__(self, samples: list[dict[str, Tensor] | Exception]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        found = self.samples[index]
        if isinstance(found, Exception):
            raise found
        return found


def sample(seed: int) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    seg = torch.randint(0, 3, (8, 6), generator=draw)
    seg[0] = 255
    depth = torch.rand(1, 8, 6, generator=draw) + 1
    return {
        "image": torch.rand(3, 8, 6, generator=draw),
        "seg": seg,
        "depth": depth,
        "male": torch.tensor(seed % 2),
    }


def test_a_sound_set_has_counts_and_no_problems(tmp_path: Path) -> None:
    found = examine({"train": Samples([sample(i) for i in range(6)]), "test": Samples([sample(9)])})
    train = found["train"]
    assert not train.problems
    assert train.samples == 6
    assert train.sizes == {(8, 6): 6}
    assert train.invalid["seg"] == pytest.approx(1 / 8)
    assert train.classes["seg"].total() == 6 * 42
    assert train.classes["male"] == {0: 3, 1: 3}
    low, high = train.ranges["depth"]
    assert 1 <= low < high <= 2
    sheet = np.asarray(Image.open(picture(found, tmp_path / "a" / "sheet.png")))
    assert sheet.shape == (2 * 4 * 8, 4 * 6, 3)
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["sheet.png"]


def test_every_problem_is_named_with_its_place() -> None:
    blank = {**sample(1), "image": torch.full((3, 8, 6), 0.5)}
    empty = {**sample(2), "depth": torch.zeros(1, 8, 6)}
    broken = {**sample(3), "depth": torch.full((1, 8, 6), torch.nan)}
    wrong = [ValueError("a.png is corrupt"), OSError("b.png is absent")]
    found = examine(
        {"train": Samples([sample(0), blank, *wrong, empty, broken]), "test": Samples([sample(0)])}
    )
    assert found["train"].samples == 4
    said = "\n".join(found["train"].problems)
    for words in (
        "train 1: the image is of one colour",
        "train 2: a.png is corrupt",
        "train 3: b.png is absent",
        "train 4: depth has no valid pixel",
        "train 5: depth holds NaN",
    ):
        assert words in said
    assert "the same input is in train too" in found["test"].problems[0]


def test_an_image_without_a_label_is_counted_as_such_whatever_the_task_is_called() -> None:
    labels = [-1, 0, 1, 0]
    made = [
        {"image": sample(i)["image"]} | dict.fromkeys(("kind", "normal", "seg", "depth"), torch.tensor(label))
        for i, label in enumerate(labels)
    ]
    train = examine({"train": Samples(made)})["train"]
    assert not train.problems
    for name in ("kind", "normal", "seg", "depth"):
        assert train.classes[name] == {0: 2, 1: 1}
        assert train.invalid[name] == pytest.approx(1 / 4)


def test_a_class_that_training_never_shows_is_named() -> None:
    odd = [{**sample(i), "male": torch.tensor(2 * (i % 2))} for i in range(4)]
    assert examine({"train": Samples(odd)})["train"].problems == ["train: no male of class 1."]


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = folders(tmp_path / "set")
    argv = [
        "doctor",
        "--data",
        "domains",
        "--data.root",
        str(root),
        "--size",
        "8x8",
        "--out",
        str(tmp_path / "x.png"),
    ]
    assert main(argv) == 0
    said = capsys.readouterr().out
    assert "photo train" in said
    assert "nothing wrong" in said
    assert (tmp_path / "x.png").exists()
    broken = sorted(root.rglob("*.png"))[4]
    broken.write_bytes(broken.read_bytes()[:30])
    assert main(argv) == 1
    out = capsys.readouterr()
    assert broken.name in out.out
    assert "1 problem in domains" in out.err


def test_the_built_in_rooms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["doctor", "--data", "rooms", "--data.val_count", "2", "--data.test_count", "2"]
    argv += ["--out", str(tmp_path / "rooms.png")]
    assert main([*argv, "--data.train_count", "8"]) == 0
    said = capsys.readouterr().out
    assert "normal" in said
    assert "nothing wrong was found" in said
    assert main([*argv, "--data.train_count", "1"]) == 1
    said = capsys.readouterr()
    assert re.search(r"^train: no seg of class \d+", said.out, re.MULTILINE), "one room shows not every class"
    assert "1 problem in rooms" in said.err


def test_the_built_in_stories(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["doctor", "--data", "stories", "--data.train_count", "8", "--data.val_count", "2"]
    assert main([*argv, "--data.test_count", "2", "--out", str(tmp_path / "x.png")]) == 0
    said = capsys.readouterr().out
    assert "nothing wrong" in said
    assert "words" in said


def test_a_picture_that_cannot_take_its_place_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        picture(examine({"train": Samples([sample(0)])}), tmp_path / "taken")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_asked_wrongly(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 1
    assert main(["doctor", "--data", "imagenet"]) == 1
    assert "imagenet: no such data set" in capsys.readouterr().err


def test_clips_with_captions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "features").mkdir()
    listed = {}
    for number, split in enumerate(("train", "val", "test")):
        names = [f"{split}{i}" for i in range(3)]
        for i, name in enumerate(names):
            np.save(
                tmp_path / "features" / f"{name}.npy", np.random.default_rng(9 * number + i).random((5, 4))
            )
        listed[split] = [{"clip": name, "caption": "a man cuts an onion"} for name in names]
    (tmp_path / "captions.json").write_text(json.dumps(listed))
    argv = ["doctor", "--data", "captions", "--data.root", str(tmp_path), "--out", str(tmp_path / "x.png")]
    assert main(argv) == 0
    assert "5 to 5" in capsys.readouterr().out
    (tmp_path / "features" / "val1.npy").unlink()
    np.save(tmp_path / "features" / "test0.npy", np.random.default_rng(0).random((5, 4)))
    assert main(argv) == 1
    said = capsys.readouterr().out
    assert "val1.npy" in said
    assert "test 0: the same input is in train too" in said


def test_every_data_set_of_files_is_known_to_the_doctor() -> None:
    made_with = {
        "Data",
        "FRAMES",
        "Loading",
        "Sample",
        "TooFewError",
        "dense_data",
        "legend",
        "picture_kind",
        "picture_of",
        "squared_errors",
    }
    assert set(secateur.data.__all__) - made_with == set(FRAMES)
