"""The captioner: what a place may see, bad input, and removal by head and hidden unit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from secateur import GroupLasso, Problem, Task, compact, compaction, components, cost, fit, load, save
from secateur.shrinking.channels import find_channels
from secateur.zoo import video_captioner
from secateur.zoo.transformer import positions
from secateur.zoo.video_captioner import VideoCaptioner


def small() -> VideoCaptioner:
    torch.manual_seed(0)
    return video_captioner({"caption": 50}, 16, 32, 4, 64).eval()


def inputs(words: int = 5) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(1)
    mask = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    return {
        "features": torch.randn(2, 6, 16, generator=draw),
        "mask": mask,
        "words": torch.randint(0, 50, (2, words), generator=draw),
    }


def test_a_place_sees_what_was_said_and_the_real_frames_alone() -> None:
    model, x = small(), inputs()
    logits = model(x)["caption"]
    assert logits.shape == (2, 50, 5)
    later = {**x, "words": x["words"].index_fill(1, torch.tensor([3, 4]), 7)}
    assert torch.allclose(model(later)["caption"][..., :3], logits[..., :3], atol=1e-5)
    assert not torch.allclose(model(later)["caption"][..., 3:], logits[..., 3:], atol=1e-3)
    hidden = {**x, "features": torch.where(x["mask"][..., None], x["features"], 99.0)}
    assert torch.allclose(model(hidden)["caption"], logits, atol=1e-5)
    shorter = {"features": x["features"][1:, :4], "mask": x["mask"][1:, :4], "words": x["words"][1:, :2]}
    assert torch.allclose(model(shorter)["caption"], logits[1:, :, :2], atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tasks": {}}, "give one"),
        ({"tasks": {"a": 5, "b": 5}}, "give one"),
        ({"tasks": {"a": 1}}, "at least 2 pieces"),
        ({"width": 30}, "multiple of heads"),
        ({"heads": 0}, "heads.*give at least 1"),
        ({"layers": (2, 0)}, "layers is"),
        ({"dropout": 1.0}, "dropout is"),
    ],
)
def test_settings_that_make_no_network(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        video_captioner(**{"tasks": {"caption": 50}, **settings})


def test_inputs_of_another_kind() -> None:
    x = inputs()
    with pytest.raises(ValueError, match=r"not \['words'\]"):
        small()({name: value for name, value in x.items() if name != "words"})
    with pytest.raises(ValueError, match=r"takes \(N, frames, 16\)"):
        small()({**x, "features": x["features"][..., :8]})


def test_components_by_kind_and_by_block() -> None:
    model = small()
    data = [(inputs(), {"caption": torch.randint(0, 50, (2, 5))})]
    problem = Problem(model, {"caption": Task(torch.nn.functional.cross_entropy)}, data)
    kinds = components(problem, "kind")
    assert set(kinds) == {"attention", "feed_forward"}
    assert all("attention" in name or "cross" in name for name in kinds["attention"])
    assert len(kinds["attention"]) == 2 * 4 + 2 * 8
    assert len(kinds["feed_forward"]) == 4 * 2 + 1  # and the layer that takes the features in
    blocks = components(problem, "block")
    assert len(blocks) == 2 * 2 + 2 * 3 + 1
    assert len(blocks["decoder.1.cross"]) == 4
    assert len(blocks["decoder.1.feed_forward"]) == 2
    assert cost(model, inputs(), kinds).macs.dense > 0


@torch.no_grad()
def test_dead_heads_and_hidden_units_are_removed(tmp_path: Path) -> None:
    model, x = small(), inputs()
    model.encoder[0].attention.out.weight[:, :8] = 0
    model.encoder[1].attention.value.weight[8:24] = 0
    model.decoder[0].cross.out.weight[:, 8:16] = 0
    model.encoder[0].feed_forward[3].weight[:, :20] = 0
    less = compact(model, x)
    assert less.encoder[0].attention.query.weight.shape == (24, 32)
    assert less.encoder[1].attention.out.weight.shape == (32, 16)
    assert less.decoder[0].cross.key.weight.shape == (24, 32)
    assert less.decoder[0].attention.key.weight.shape == (32, 32)
    assert less.encoder[0].feed_forward[0].weight.shape == (44, 32)
    assert not any("Attention" in reason for reason in compaction(less).pinned)
    again = load(small(), save(less, tmp_path / "less.safetensors")).eval()
    for words in (1, 5, 9):
        given, expected = inputs(words), model(inputs(words))["caption"]
        assert float((less(given)["caption"] - expected).abs().max()) <= 1e-5 * float(expected.abs().max())
        assert torch.equal(again(given)["caption"], less(given)["caption"])


@pytest.mark.slow
def test_group_lasso_takes_heads_and_units_out() -> None:
    x = inputs()
    data = [(x, {"caption": torch.randint(0, 50, (2, 5))})]
    problem = Problem(small(), {"caption": Task(torch.nn.functional.cross_entropy)}, data)
    fit(problem, GroupLasso(density=0.6, groups="coupled", metric="euclidean"), steps=8)
    less = compact(problem.model, x)
    before, after = compaction(less).channels
    assert before == 6 * 4 + 4 * 64
    assert after < 0.9 * before


def test_places_differ_in_half_precision() -> None:
    half = positions(200, 32, torch.zeros(1, dtype=torch.bfloat16))
    assert half.dtype == torch.bfloat16
    assert torch.allclose(half.float(), positions(200, 32, torch.zeros(1)), atol=0.01)


def test_a_head_is_one_channel() -> None:
    axes = find_channels(small(), inputs()).axes
    heads = axes["encoder.0.attention.query.weight", 0]
    assert heads.unique().numel() == 4
    assert torch.equal(heads, axes["encoder.0.attention.out.weight", 1])
    assert bool((axes["words.weight", 1] == -1).all())
