"""A captioning run, from the command line to a file for an engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from secateur import compact, evaluate, export
from secateur.cli import main
from secateur.deployment.engines import load_engine
from secateur.problem.problem import one, sample_shape
from secateur.runs import deploy
from secateur.runs.folder import RunFolder
from secateur.runs.run import evaluate_run, make_problem
from secateur.storage.saving import load

SMALL = [
    "--data",
    "stories",
    "--data.dim",
    "8",
    "--data.train_count",
    "32",
    "--data.val_count",
    "8",
    "--data.test_count",
    "16",
    "--steps",
    "12",
    "--batch",
    "8",
    "--model",
    "video_captioner",
    "--model.features",
    "8",
    "--model.width",
    "16",
    "--model.heads",
    "2",
    "--model.layers",
    "[1,1]",
    "--device",
    "cpu",
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    main(["train", "dense", *SMALL, "--out", str(root / "dense")])
    pruned = ["--method.density", "0.2", "--method.components", "kind"]
    main(["train", "adapmtl", *SMALL, *pruned, "--out", str(root / "adapmtl")])
    return root


def test_the_report_of_a_run(runs: Path) -> None:
    found = json.loads((runs / "adapmtl" / "report.json").read_text())
    assert found["density"]["overall"] == pytest.approx(0.2, abs=0.0005)
    assert found["tasks"] == evaluate_run(runs / "adapmtl")
    assert set(found["macs"]["input"]) == {"features", "mask", "words"}
    rows = [json.loads(line) for line in (runs / "adapmtl" / "metrics.jsonl").read_text().splitlines()]
    assert set(rows[0]["threshold"]) == {"attention", "feed_forward"}
    main(["report", str(runs / "dense"), str(runs / "adapmtl")])
    assert "multiply-adds on one sample" in (runs / "adapmtl" / "report.html").read_text()


def test_compact_export_and_the_engine(runs: Path) -> None:
    folder = runs / "adapmtl"
    main(["compact", str(folder)])
    assert json.loads((folder / "compact.json").read_text())["input"]["features"] == [16, 8]
    path = deploy.export_run(folder)
    problem, data = make_problem(RunFolder(folder).read_config())
    load(problem.model, folder / "model.safetensors")
    x, _ = next(iter(data.test))
    engine = load_engine(path)
    assert list(engine.about["inputs"]) == ["features", "mask", "words"]
    for name, value in x.items():
        assert engine.about["inputs"][name]["example"] == [1, *value.shape[1:]]
    said = engine({name: value.numpy() for name, value in x.items()})["caption"]
    with torch.no_grad():
        expected = problem.model.eval()(x)["caption"]
    assert torch.allclose(torch.from_numpy(said), expected, atol=1e-4)
    with pytest.raises(ValueError, match="is no image"):
        deploy.bench_runs([folder], ["torch"], size="8x8")


def test_a_smaller_network_says_the_same(runs: Path) -> None:
    problem, data = make_problem(RunFolder(runs / "dense").read_config())
    load(problem.model, runs / "dense" / "model.safetensors")
    with torch.no_grad():
        problem.model.encoder[0].attention.out.weight[:, :8] = 0
        problem.model.decoder[0].feed_forward[3].weight[:, :30] = 0
    x, _ = next(iter(data.test))
    assert sample_shape(one(x)) == sample_shape(x)
    small = compact(problem.model, one(x))
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in problem.model.parameters())
    decode = data.tasks["caption"].decode
    assert torch.equal(decode(problem.model.eval(), x), decode(small.eval(), x))
    assert evaluate(problem, "val").keys() == {"caption"}


def test_a_size_is_refused_where_there_are_no_images(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["train", "dense", *SMALL, "--size", "48x64", "--out", str(tmp_path / "run")])
    assert "leave --size out" in "".join(capsys.readouterr())


@pytest.mark.slow
def test_every_tensor_of_one_input_is_exported(runs: Path, tmp_path: Path) -> None:
    problem, data = make_problem(RunFolder(runs / "dense").read_config())
    x, _ = next(iter(data.test))
    path = export(problem.model, one(x), tmp_path / "net.pt2", about={"frames": 16})  # to ONNX: above
    about = load_engine(path).about
    assert about["frames"] == 16
    assert list(about["inputs"]) == ["features", "mask", "words"]
    for name, value in x.items():
        assert about["inputs"][name]["example"] == [1, *value.shape[1:]]
