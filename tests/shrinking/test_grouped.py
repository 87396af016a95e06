"""Convolutions in groups lose whole groups or the same channels of every group, whichever leaves less."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dead_channels import same
from secateur import compact, load, save

X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def build() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 16, 1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 24, 3, groups=4, padding=1),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.ConvTranspose2d(24, 16, 2, 2, groups=4),
        nn.ReLU(),
        nn.Conv2d(16, 2, 1),
    )


@torch.no_grad()
def dead(kind: str) -> nn.Sequential:
    torch.manual_seed(0)
    model = build().eval()
    if kind == "channels":
        model[3].weight[:, [0, 3]] = 0  # inputs of every group
        model[6].weight.view(4, 6, 4, 2, 2)[:, [1, 2, 5]] = 0
        model[8].weight.view(2, 4, 4, 1, 1)[:, :, 2] = 0
    else:
        model[6].weight[:12] = 0
        model[8].weight[:, :8] = 0
    return model


@pytest.mark.parametrize(
    ("kind", "sizes"),
    [
        ("channels", [(1, 3, 8), (4, 8, 12), (4, 12, 12), (1, 12, 2)]),
        ("groups", [(1, 3, 8), (2, 8, 12), (2, 12, 8), (1, 8, 2)]),
    ],
)
@torch.no_grad()
def test_what_leaves_less_is_chosen_and_files_know_it(
    kind: str, sizes: list[tuple[int, int, int]], tmp_path
) -> None:
    model = dead(kind)
    small = compact(model, X)
    assert same(model(X), small(X))
    assert [
        (layer.groups, layer.in_channels, layer.out_channels) for layer in (small[i] for i in (0, 3, 6, 8))
    ] == sizes
    loaded = load(build(), save(small, tmp_path / "small.safetensors")).eval()
    assert same(small(X), loaded(X), 0.0)


@torch.no_grad()
def test_whole_groups_may_go_after_channels_of_all(tmp_path) -> None:
    first = compact(dead("channels"), X)
    first[6].weight[:3], first[8].weight[:, :3] = 0, 0
    second = compact(first, X)
    assert (first[6].groups, second[6].groups) == (4, 3)
    assert same(first(X), second(X))
    loaded = load(build(), save(second, tmp_path / "small.safetensors")).eval()
    assert same(second(X), loaded(X), 0.0)


@torch.no_grad()
def test_different_places_in_each_group_stay_exact() -> None:
    torch.manual_seed(0)
    model = build().eval()
    for group in range(4):
        model[6].weight.view(4, 6, 4, 2, 2)[group, group : group + 2] = 0
    small = compact(model, X)
    assert same(model(X), small(X))
