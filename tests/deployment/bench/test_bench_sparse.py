"""The engine that skips zeros, beside the others: what it says of layers, and what the bench makes of that."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("onnxscript", reason="needs onnx: pip install 'secateur[onnx]'")
pytest.importorskip("secateur_runtime", reason="needs secateur-runtime: pip install ./runtime")

from problems import TwoHeads
from secateur.deployment.bench import Facts, Measure, bench
from secateur.deployment.bench.advice import advice
from secateur.deployment.engines import EngineMissingError, load_engine
from secateur.deployment.export import export

MEASURE = Measure(9.0, 10.0, 11.0, 1.0, 1.0, 1.0, 1.0, 100, 10**6, 1000, 0.0, True)
FACTS = Facts(params=100, macs=1000, nonzero_macs=100, dead_channels=0, uneven=0.0)


def pruned() -> nn.Module:
    torch.manual_seed(0)
    model = TwoHeads(64)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data *= torch.rand_like(parameter) < 0.05
    return model


def test_the_same_predictions_and_a_line_for_each_layer(tmp_path) -> None:
    path = export(pruned(), torch.randn(1, 3, 32, 32), tmp_path / "net.onnx")
    x = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)
    stock, ours = load_engine(path), load_engine(path, engine="sparse")
    assert ours.name == "sparse"
    for task, expected in stock(x).items():
        np.testing.assert_allclose(ours(x)[task], expected, rtol=1e-4, atol=1e-5)
    assert not stock.layers
    assert {layer["operation"] for layer in ours.layers} == {"Conv"}
    assert any(layer["ours"] for layer in ours.layers)


def test_an_engine_for_another_format_is_refused(tmp_path) -> None:
    path = export(pruned(), torch.randn(1, 3, 32, 32), tmp_path / "net.pt2")
    with pytest.raises(ValueError, match=r"does not run net\.pt2"):
        load_engine(path, engine="sparse")


def test_it_is_timed_beside_the_others() -> None:
    torch.manual_seed(0)
    models = {"dense": TwoHeads(64), "pruned": pruned()}
    found = bench(models, torch.randn(1, 3, 32, 32), ["onnxruntime", "sparse"], repeats=2, processes=1)
    assert list(found.measures) == ["onnxruntime", "sparse"]
    assert not any(layer["ours"] for layer in found.layers["dense"])
    assert any(layer["ours"] for layer in found.layers["pruned"])
    assert any("pruned is fastest in" in sentence for sentence in found.advice)


def test_what_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "secateur_runtime", None)
    with pytest.raises(EngineMissingError, match=r"pip install \./runtime"):
        bench({"dense": TwoHeads(4)}, torch.randn(1, 3, 16, 16), ["sparse"], repeats=1)


def test_what_was_left_is_named_with_the_reason() -> None:
    layers = [
        {"name": "a", "ours": True, "density": 0.1, "note": "packed 1x1", "dense": 9.0},
        {"name": "b", "ours": False, "density": 0.4, "note": "would pay with 28 %", "dense": 2.0},
        {"name": "c", "ours": False, "density": 1.0, "note": "dense weights", "dense": 5.0},
    ]
    networks, measures = {"dense": FACTS, "small": FACTS}, {"sparse": {"dense": MEASURE, "small": MEASURE}}
    (found,) = [line for line in advice("dense", networks, measures, {"small": layers}) if "left" in line]
    assert found == (
        "sparse left 1 of 3 layers of small to ONNX Runtime; the largest, b, keeps 40% of its weights: would pay with 28 %."
    )
