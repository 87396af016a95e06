"""The metrics of an exported file are those of its run, whatever data they are counted on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from secateur import export
from secateur.cli import main
from secateur.runs import evaluate_file, evaluate_run
from secateur.runs.report.deployed import chapter
from secateur.storage import manifest
from tiny_runs import LITTLE, TINY, TRUST, TRUSTED, train

ROOMS = {"name": "rooms", "train_count": 16, "val_count": 4, "test_count": 8}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "a"
    assert train("adapmtl", folder, "--method.density", "0.2", words=LITTLE) == 0
    assert main(["export", str(folder), *TRUST]) == 0
    assert main(["export", str(folder), "--format", "pt2", "--tasks", "depth,seg", *TRUST]) == 0
    return folder


def agree(found: dict, wanted: dict) -> None:
    for task, metrics in found.items():
        for name, value in metrics.items():
            assert value == pytest.approx(wanted[task][name], rel=1e-3, abs=1e-4, nan_ok=True), (task, name)


def test_a_file_in_its_run_folder_has_the_metrics_of_the_run(run: Path) -> None:
    wanted = evaluate_run(run, trust=TRUSTED, device="cpu")
    for batch in (None, 3):
        found = evaluate_file(run / "model.onnx", batch=batch, trust=TRUSTED)
        assert found.keys() == wanted.keys()
        agree(found, wanted)
    assert evaluate_file(run / "model-depth-seg.pt2", trust=TRUSTED).keys() == {"seg", "depth"}
    agree(
        evaluate_file(run / "model-depth-seg.pt2", "val", trust=TRUSTED),
        evaluate_run(run, "val", TRUSTED, "cpu"),
    )


def test_elsewhere_it_wants_data_by_name(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = Path(shutil.copy(run / "model.onnx", tmp_path))
    assert main(["evaluate", str(path)]) == 1
    assert "--data NAME" in capsys.readouterr().err
    agree(evaluate_file(path, data=ROOMS), evaluate_run(run, trust=TRUSTED, device="cpu"))
    options = TINY[TINY.index("--data.train_count") : TINY.index("--device")]
    assert (
        main(["evaluate", str(path), "--data", "rooms", *options, "--batch", "2", "--data.tasks", "seg"]) == 0
    )
    shown = capsys.readouterr().out
    assert "miou" in shown
    assert "depth" not in shown
    assert main(["evaluate", str(run), "--batch", "2", *TRUST]) == 1
    assert "--batch is for exported files" in capsys.readouterr().err


def test_the_sparse_engine_counts_the_same(run: Path) -> None:
    pytest.importorskip("secateur_runtime")
    agree(
        evaluate_file(run / "model.onnx", engine="sparse", trust=TRUSTED),
        evaluate_run(run, trust=TRUSTED, device="cpu"),
    )


def test_openvino_reads_onnx_and_its_metadata(run: Path) -> None:
    pytest.importorskip("openvino")
    agree(
        evaluate_file(run / "model.onnx", engine="openvino", trust=TRUSTED),
        evaluate_run(run, trust=TRUSTED, device="cpu"),
    )


def test_an_engine_that_does_not_run_the_format_is_named(run: Path) -> None:
    with pytest.raises(ValueError, match="does not run"):
        evaluate_file(run / "model-depth-seg.pt2", engine="sparse", trust=TRUSTED)


class Net(torch.nn.Module):
    """Shows depth 3 times as far as red is bright, where pictures are not normalised."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"depth": 3.0 * x[:, : self.channels]}


def test_pictures_are_normalised_as_the_file_says_and_batches_cut_to_what_it_takes(tmp_path: Path) -> None:
    example = torch.rand(3, 3, 24, 32)
    plain = export(Net(), example, tmp_path / "a.pt2", about={"mean": [0.0] * 3, "std": [1.0] * 3})
    moved = export(
        Half(), example, tmp_path / "b.pt2", dynamic=False, about={"mean": [0.5] * 3, "std": [0.25] * 3}
    )
    wanted = evaluate_file(plain, data=ROOMS, batch=8)
    agree(evaluate_file(moved, data=ROOMS, batch=8), wanted)
    agree(evaluate_file(moved, data=ROOMS), wanted)
    with pytest.raises(ValueError, match="does not take an input"):
        evaluate_file(moved, data=ROOMS, size=(48, 64))


class Half(Net):
    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return super().forward(x * 0.25 + 0.5)


def test_a_file_of_other_tasks_or_channels_is_refused(tmp_path: Path) -> None:
    path = export(Net(2), torch.rand(2, 3, 24, 32), tmp_path / "a.pt2")
    with pytest.raises(ValueError, match="2 channels for 'depth', and the data ask for 1"):
        evaluate_file(path, data=ROOMS)
    with pytest.raises(ValueError, match="no task is in both"):
        evaluate_file(path, data={**ROOMS, "tasks": ["seg"]})


def test_what_a_run_keeps_says_how_it_is_drawn(run: Path) -> None:
    about = manifest(run / "model.safetensors")["about"]
    assert about["pictures"] == {"seg": "segmentation", "normal": "normal", "depth": "depth"}


def test_a_run_in_int8_says_what_it_costs(run: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["export", str(run), "--quantize", "int8", *TRUST]) == 0
    assert "not exact" in capsys.readouterr().out
    found, wanted = (
        evaluate_file(run / "model-int8.onnx", trust=TRUSTED),
        evaluate_run(run, trust=TRUSTED, device="cpu"),
    )
    assert found["depth"]["abs"] == pytest.approx(wanted["depth"]["abs"], rel=0.1)
    assert found != wanted
    said = dict.fromkeys(text for _, text in chapter(run, {}, {}).facts if text.startswith("model-int8.onnx"))
    assert "in int8, off by at most seg" in next(iter(said))
    assert main(["export", str(run), "--quantize", "int8", "--format", "pt2", *TRUST]) == 1
    assert "for onnx and openvino" in capsys.readouterr().err
