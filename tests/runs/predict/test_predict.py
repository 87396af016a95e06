"""Pictures with predictions drawn, of a run folder and of its exported file."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from secateur import export
from secateur.cli import main
from secateur.deployment.engines import load_engine
from secateur.runs.predict import facts_of
from tiny_runs import LITTLE, TRUST, train

TASKS = ("seg", "normal", "depth")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "dense"
    assert train("dense", folder, steps=20, words=LITTLE) == 0
    assert main(["export", str(folder), *TRUST]) == 0
    return folder


@pytest.fixture
def photo(run: Path, tmp_path: Path) -> Path:
    """The first picture of the report."""
    path = tmp_path / "photo.png"
    Image.fromarray(arrays(run / "samples.npz")["input/0"]).save(path)
    return path


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return dict(file)


def picture(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


@pytest.mark.parametrize("source", ["", "model.onnx"])
def test_predictions_are_drawn_as_in_the_report(run: Path, photo: Path, tmp_path: Path, source: str) -> None:
    out = tmp_path / "seen"
    assert main(["predict", str(run / source), str(photo), "--out", str(out), "--raw", *TRUST]) == 0
    assert {p.name for p in out.iterdir()} == {"photo.png", "photo.npz", *(f"photo.{t}.png" for t in TASKS)}
    report, raw = arrays(run / "samples.npz"), arrays(out / "photo.npz")
    for task in TASKS:  # the report's network saw the picture before it was rounded to bytes
        shown, wanted = picture(out / f"photo.{task}.png").astype(int), report[f"{task}/prediction/0"]
        assert shown.shape == wanted.shape
        assert (np.abs(shown - wanted).max(-1) <= 8).mean() > 0.9, task
    about = load_engine(run / "model.onnx").about
    assert raw["seg"].shape[0] == about["tasks"]["seg"]["channels"] == len(about["classes"]["seg"])
    sheet = picture(out / "photo.png")
    assert sheet.shape[1] >= 4 * 32
    assert np.array_equal(sheet[-24:, :32], report["input/0"])


def test_a_file_and_its_run_predict_the_same_and_other_sizes(run: Path, photo: Path, tmp_path: Path) -> None:
    for name, source in (("a", run), ("b", run / "model.onnx")):
        argv = ["predict", str(source), str(photo), "--out", str(tmp_path / name), "--raw", "--size", "32x64"]
        argv += TRUST
        assert main(argv) == 0
    found, wanted = (arrays(tmp_path / name / "photo.npz") for name in "ba")
    for task in TASKS:
        assert np.abs(found[task] - wanted[task]).max() <= 1e-4 * np.abs(wanted[task]).max()
    assert picture(tmp_path / "b" / "photo.seg.png").shape == (32, 64, 3)


def test_what_was_begun_is_ended_and_what_is_of_another_network_is_left(
    run: Path, photo: Path, tmp_path: Path
) -> None:
    argv, out = (
        ["predict", str(run), str(photo), "--raw", "--out", str(tmp_path / "out"), *TRUST],
        tmp_path / "out",
    )
    assert main(argv) == 0
    whole = {path.name: path.read_bytes() for path in out.iterdir()}
    order = sorted(whole, key=lambda name: (out / name).stat().st_mtime_ns)
    for name in order[2:]:
        (out / name).unlink()
    (out / f".{order[2]}.999999999.partial").write_bytes(b"half")
    for _ in range(2):
        assert main(argv) == 0
        assert {path.name: path.read_bytes() for path in out.iterdir()} == whole
    (out / order[0]).write_bytes(b"of another")
    for name in order[1:]:
        (out / name).unlink()
    with pytest.raises(SystemExit):
        main(argv) and sys.exit(1)
    assert [path.read_bytes() for path in out.iterdir()] == [b"of another"]


def test_a_run_needs_its_data_no_longer(run: Path, photo: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("secateur.runs.predict.network.read_problem", None)
    assert main(["predict", str(run), str(photo), "--out", str(tmp_path / "seen"), *TRUST]) == 0


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("broken", "bad.jpg"),
        ("empty", "holds no picture"),
        ("full", "not an empty folder"),
        ("same", "photos exists and is not an empty folder"),
        ("none", "Nothing at"),
    ],
)
def test_bad_input_is_named_before_anything_is_written(
    run: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture, case: str, said: str
) -> None:
    out, inputs = tmp_path / "seen", tmp_path / "photos"
    inputs.mkdir()
    if case == "same":
        out = inputs
    if case in ("broken", "full", "same"):
        photo.rename(inputs / "a.png")
    if case == "broken":
        (inputs / "bad.jpg").write_bytes(b"no picture")
    if case == "full":
        out.mkdir()
        (out / "kept").write_text("x")
    given = tmp_path / "gone.png" if case == "none" else inputs
    assert main(["predict", str(run / "model.onnx"), str(given), "--out", str(out)]) == 1
    assert said in capsys.readouterr().err
    assert [p.name for p in out.rglob("*")] == {"full": ["kept"], "same": ["a.png"]}.get(case, [])


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 1, 3, padding=1)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"../d": self.conv(x)}


def test_a_file_that_says_nothing_of_pictures_is_told_by_options(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = export(Net(), torch.rand(2, 3, 24, 32), tmp_path / "own.pt2", dynamic=False)
    argv = ["predict", str(path), str(photo), "--out", str(tmp_path / "seen")]
    for more, said in (
        ([], "--mean 0.5,0.5,0.5 and --std 0.5,0.5,0.5"),
        (["--mean", "0,0,0"], "give --std"),
        (["--mean", "0,0,0", "--std", "1,0,1"], "above 0"),
        (["--mean", "0,0,0", "--std", "1,1,1"], "--pictures"),
        (["--mean", "0,0,0", "--std", "1,1,1", "--pictures", "{../d: deep}"], "no picture is called 'deep'"),
        (["--mean", "0,0,0", "--std", "1,1,1", "--size", "48x64"], "24x32 alone"),
    ):
        assert main([*argv, *more]) == 1
        assert said in capsys.readouterr().err
        assert not (tmp_path / "seen").exists()
    assert main([*argv, "--mean", "0,0,0", "--std", "1,1,1", "--pictures", "{../d: map}"]) == 0
    assert {p.name for p in (tmp_path / "seen").iterdir()} == {"photo.png", "photo.___d.png"}


def test_a_network_of_no_pictures_is_refused(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    class Flat(torch.nn.Linear):
        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"a": super().forward(x)}

    path = export(Flat(4, 2), torch.rand(2, 4), tmp_path / "flat.onnx")
    assert main(["predict", str(path), str(photo), "--out", str(tmp_path / "seen")]) == 1
    assert "networks of pictures" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", ["x", [1, 2], [1, 2, None], [[1], 2, 3], {"a": 1}, [1e400, 0, 0]])
def test_metadata_of_another_kind_are_refused(wrong: object) -> None:
    about = {"tasks": {"a": {}}, "mean": [0, 0, 0], "std": [1, 1, 1], "pictures": {"a": "map"}}
    assert facts_of(about, "file").draw.keys() == {"a"}
    for key in ("mean", "std"):
        with pytest.raises(ValueError, match=key):
            facts_of({**about, key: wrong}, "file")
    with pytest.raises(ValueError, match="picture of 'a'"):
        facts_of({**about, "pictures": {"a": json.dumps([1])}}, "file")
    with pytest.raises(ValueError, match="picture of 'a'"):
        facts_of({**about, "pictures": {"a": [1]}}, "file")
