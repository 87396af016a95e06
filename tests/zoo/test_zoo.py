"""Deeplab-ResNet34 is the published network: oracles T1 and T2."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from secateur.measures.cost import count_macs
from secateur.zoo import deeplab_resnet34, lim_resnetd50, separate_bottom
from secateur.zoo.transformer_encoder import TransformerEncoder

PUBLISHED = {"seg": 40, "normal": 3, "depth": 1}


@pytest.mark.parametrize("task", ["type", "training", "keys", "_modules", "v1.0", ""])
@pytest.mark.parametrize(
    "make",
    [
        lambda task: deeplab_resnet34({task: 2}, 0.05),
        lambda task: lim_resnetd50({task: 2}, 0.05),
        lambda task: separate_bottom({task: 2}, "resnet18", width=0.125, norm="separate"),
        lambda task: TransformerEncoder(torch.nn.Identity(), {task: 2}, 4, "first"),
    ],
    ids=["deeplab_resnet34", "lim_resnetd50", "separate_bottom", "transformer_encoder"],
)
def test_a_task_that_no_head_can_be_called_after_is_named(make: Any, task: str) -> None:
    other = "v1_0" if "." in task else f"{task}_"
    with pytest.raises(
        ValueError, match=f"A task is called '{task}', which no part .* rename it, such as to '{other}'"
    ):
        make(task)
    make(other)


def parameters(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.fixture(scope="module")
def published() -> torch.nn.Module:
    with torch.device("meta"):
        return deeplab_resnet34(PUBLISHED)


def test_parameters(published: torch.nn.Module) -> None:
    assert parameters(published) == 90_695_664
    assert parameters(published.backbone) == 21_284_672
    assert parameters(published.heads["seg"]) == 23_240_864
    with torch.device("meta"):
        assert parameters(deeplab_resnet34({"seg": 13, "normal": 3, "depth": 1})) == 90_584_964
        assert parameters(deeplab_resnet34({"seg": 40, "normal": 3})) == 67_614_700
        assert parameters(deeplab_resnet34({"seg": 17, "a": 3, "b": 1, "c": 1, "d": 1})) == 136_763_292


def test_multiply_accumulates(published: torch.nn.Module) -> None:
    macs = count_macs(published, torch.zeros(1, 3, 321, 321, device="meta"))
    assert sum(macs.values()) == pytest.approx(153.6966e9, rel=1e-6)
    assert sum(m for n, m in macs.items() if n.startswith("backbone")) == pytest.approx(37.06e9, rel=2e-4)


@pytest.mark.parametrize(
    ("size", "grid"), [((321, 321), (41, 41)), ((224, 224), (29, 29)), ((480, 640), (61, 81))]
)
def test_output_stride(size: tuple[int, int], grid: tuple[int, int]) -> None:
    with torch.device("meta"):
        model = deeplab_resnet34({"seg": 13, "depth": 1}, width=0.125)
        out = model(torch.zeros(2, 3, *size))
    assert out["seg"].shape == (2, 13, *grid)
    assert out["depth"].shape == (2, 1, *grid)


def test_width_scales_every_layer() -> None:
    model = deeplab_resnet34({"seg": 13}, width=0.25)
    assert model.backbone.conv1.out_channels == 16
    assert model.heads["seg"].branches[0][0].out_channels == 256


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match=r"tasks is \{\}"):
        deeplab_resnet34({})
    with pytest.raises(ValueError, match=r"width 0\.001 leaves no channel"):
        deeplab_resnet34({"seg": 13}, width=0.001)
