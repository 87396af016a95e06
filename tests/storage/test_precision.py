"""Weights of another precision: what the model's own does not reach is refused, and what becomes zero in it is said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from problems import equal, two_heads, weights
from secateur.storage import load_weights

NAME = "trunk.4.weight"


def test_what_is_infinite_in_the_models_precision_is_refused(tmp_path: Path) -> None:
    held = two_heads().model.state_dict()
    torch.save({**held, NAME: held[NAME] * 1e8}, tmp_path / "w.pt")
    problem = two_heads(dtype=torch.float16)
    before = weights(problem)
    with pytest.raises(
        ValueError, match=rf"numbers in \['{NAME}'\] .*precision does not reach .float32 and float16"
    ):
        load_weights(problem.model, tmp_path / "w.pt")
    assert equal(before, weights(problem))
    load_weights(two_heads(dtype=torch.bfloat16).model, tmp_path / "w.pt")
    load_weights(two_heads().model, tmp_path / "w.pt")


def test_what_becomes_zero_in_it_is_said(tmp_path: Path) -> None:
    held = two_heads().model.state_dict()
    torch.save({**held, NAME: held[NAME] * 1e-9}, tmp_path / "w.pt")
    model = two_heads(dtype=torch.float16).model
    with pytest.warns(
        UserWarning, match=rf"numbers become zero .* of {NAME} \(100%\); give the model a finer one"
    ):
        load_weights(model, tmp_path / "w.pt")
    assert not model.trunk[4].weight.any()


def test_zeros_of_a_pruned_network_are_none_that_became_so(tmp_path: Path) -> None:
    held = two_heads().model.state_dict()
    kept = held[NAME] * (torch.rand(held[NAME].shape, generator=torch.Generator().manual_seed(0)) < 0.1)
    torch.save({**held, NAME: kept}, tmp_path / "w.pt")
    model = two_heads(dtype=torch.float16).model
    load_weights(model, tmp_path / "w.pt")
    assert torch.equal(model.trunk[4].weight, kept.half())


def test_a_mask_of_infinities_may_have_been_large_numbers(tmp_path: Path) -> None:
    models = [two_heads(dtype=dtype).model for dtype in (torch.float32, torch.float16)]
    for model, value in zip(models, (-1e30, -torch.inf), strict=True):
        model.register_buffer("mask", torch.full((3,), value, dtype=model.colour.weight.dtype))
    torch.save(models[0].state_dict(), tmp_path / "w.pt")
    load_weights(models[1], tmp_path / "w.pt")
    assert torch.equal(models[1].mask, torch.full((3,), -torch.inf, dtype=torch.float16))
