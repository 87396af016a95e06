"""ResNetD-50 of Less is More is the published network: oracle T1."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from secateur.zoo import lim_resnetd50


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.fixture(scope="module")
def published() -> nn.Module:
    with torch.device("meta"):
        return lim_resnetd50({"seg": 41, "normal": 3, "depth": 1})


def test_parameters(published: nn.Module) -> None:
    assert parameters(published) == 72_019_693
    assert parameters(published.backbone) == 23_631_808
    assert [parameters(head) for head in published.heads.values()] == [16_135_977, 16_126_211, 16_125_697]
    with torch.device("meta"):
        assert parameters(lim_resnetd50({"male": 1}, classify=["male"]).heads["male"]) == 1_181_825


def test_groups(published: nn.Module) -> None:
    weights = [p for p in published.backbone.parameters() if p.dim() == 4]
    assert len(weights) == 55
    assert sum(w.numel() for w in weights) == 23_578_304
    assert sum(w.shape[1] for w in weights) == 22_787
    assert sum(w.shape[0] for w in weights) == 26_752


def test_output_stride(published: nn.Module) -> None:
    out = published(torch.zeros(2, 3, 256, 256, device="meta"))
    assert {task: tuple(y.shape) for task, y in out.items()} == {
        "seg": (2, 41, 32, 32), "normal": (2, 3, 32, 32), "depth": (2, 1, 32, 32)
    }  # fmt: skip


def test_a_small_one_runs_with_activations_and_classification() -> None:
    model = lim_resnetd50(
        {"depth": 1, "normal": 3, "male": 2},
        width=0.0625,
        activations={"depth": "sigmoid", "normal": "tanh"},
        classify=["male"],
    )
    out = model(10 * torch.randn(2, 3, 32, 32))
    assert out["male"].shape == (2, 2)
    assert ((out["depth"] > 0) & (out["depth"] < 1)).all()
    assert out["normal"].shape == (2, 3, 4, 4)
    assert out["normal"].abs().max() <= 1
    plain = lim_resnetd50({"depth": 1}, width=0.0625)  # no activation by a task's name
    assert not any(isinstance(m, (nn.Sigmoid, nn.Tanh)) for m in plain.modules())


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match=r"tasks is \{\}"):
        lim_resnetd50({})
    with pytest.raises(ValueError, match=r"width 0\.01 leaves no channel"):
        lim_resnetd50({"seg": 13}, width=0.01)
    with pytest.raises(ValueError, match=r"name \['dpeth'\], but the tasks are \['depth'\]"):
        lim_resnetd50({"depth": 1}, activations={"dpeth": "sigmoid"})
