"""The whole way on visual domains: dense, pruned, overlap, compacted, exported for one of them, reported."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from miniatures.domains import folders
from secateur.cli import main
from secateur.deployment.engines import load_engine
from secateur.runs.run import evaluate_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("domains")
    root = folders(path / "set")
    shared = [
        "--data",
        "domains",
        "--data.root",
        str(root),
        "--size",
        "32x32",
        "--batch",
        "4",
        "--steps",
        "8",
    ]
    shared += [
        "--model",
        "separate_bottom",
        "--model.split",
        "layer2",
        "--model.width",
        "0.125",
        "--device",
        "cpu",
    ]
    assert main(["train", "dense", *shared, "--out", str(path / "dense")]) == 0
    assert (
        main(["train", "disparse", *shared, "--method.density", "0.2", "--out", str(path / "disparse")]) == 0
    )
    lim = ["--method.density", "0.4", "--method.of", "parameters"]
    assert main(["train", "less_is_more", *shared, *lim, "--out", str(path / "lim")]) == 0
    return path


def test_the_report_knows_each_domain(runs: Path) -> None:
    report = json.loads((runs / "disparse" / "report.json").read_text())
    assert set(report["tasks"]) == {"photo", "sketch"}
    assert set(report["tasks"]["photo"]) == {"accuracy"}
    assert report["macs"]["images"] == 2
    assert report["density"]["overall"] == pytest.approx(0.2, abs=1e-3)
    assert set(report["density"]["components"]) == {"backbone", "photo", "sketch"}
    assert report["delta_t"]["against"].endswith("dense")
    page = (runs / "disparse" / "report.html").read_text()
    assert "for each of 2 tasks" in page
    assert evaluate_run(runs / "disparse", "test") == report["tasks"]


def test_samples_show_every_domain(runs: Path) -> None:
    with np.load(runs / "dense" / "samples.npz") as samples:
        kinds = {key.rsplit("/", 1)[0] for key in samples.files}
        assert {"input", "photo/truth", "photo/prediction", "sketch/truth"} <= kinds
        assert samples["input/0"].shape == (32, 32, 3)


def test_where_the_domains_disagree(runs: Path) -> None:
    assert main(["overlap", str(runs / "dense"), "--batches", "1"]) == 0
    found = json.loads((runs / "dense" / "overlap.json").read_text())
    named = [name for name in json.dumps(found).split('"') if name.startswith(("own.", "shared."))]
    assert named
    assert all(name.startswith("shared.") for name in named)


@pytest.mark.slow
def test_smaller_and_for_one_domain_alone(runs: Path) -> None:
    assert main(["compact", str(runs / "lim")]) == 0
    sizes = json.loads((runs / "lim" / "compact.json").read_text())
    assert sizes["after"]["params"] < 0.6 * sizes["before"]["params"]
    assert main(["export", str(runs / "lim"), "--tasks", "sketch"]) == 0
    engine = load_engine(runs / "lim" / "model-sketch.onnx")
    out = engine({"sketch": torch.zeros(1, 3, 32, 32).numpy()})
    assert list(out) == ["sketch"]
