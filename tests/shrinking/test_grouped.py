"""Convolutions in groups lose whole groups or the same channels of every group, whichever leaves less."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from dead_channels import same
from secateur import GroupLasso, Problem, Task, compact, fit, load, save
from secateur.pruning import Groups
from secateur.shrinking import coupled_groups, fewest

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


class Grouped(nn.Module):
    """A convolution, one in groups, and what reads it."""

    def __init__(self, groups: int = 2, width: int = 16, *, transposed: bool = False) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, width, 1)
        kind = nn.ConvTranspose2d if transposed else nn.Conv2d
        self.g = kind(width, width, 3, padding=1, groups=groups)
        self.h = nn.Conv2d(width, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.h(self.g(self.read(x).relu()).relu())

    def read(self, x: Tensor) -> Tensor:
        return self.a(x)


class Joined(Grouped):
    """Each group is all of one convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(3, 8, 1)

    def read(self, x: Tensor) -> Tensor:
        return torch.cat([self.a(x), self.b(x)], 1)


class Shuffled(Grouped):
    """Every group reads every other, and the number of groups is written out (ShuffleNet)."""

    def __init__(self) -> None:
        super().__init__(4, 32)
        self.k = nn.Conv2d(32, 32, 1, groups=4)

    def read(self, x: Tensor) -> Tensor:
        z = self.k(self.a(x).relu())
        b, c, h, w = z.shape
        return z.view(b, 4, c // 4, h, w).transpose(1, 2).reshape(b, c, h, w)


class Widths(Grouped):
    """What lies in a group is written out, so whole groups alone can go."""

    def read(self, x: Tensor) -> Tensor:
        z = self.a(x)
        return z.reshape(z.shape[0], -1, 8, *z.shape[2:]).flatten(1, 2)


MADE: dict[str, tuple[Callable[[], nn.Module], int]] = {  # and the weights of the smallest
    "few wide groups": (Grouped, 2 * (3 + 9 + 2)),
    "many narrow groups": (lambda: Grouped(8), 2 * (3 + 2 * 9 + 2)),
    "transposed": (lambda: Grouped(transposed=True), 2 * (3 + 9 + 2)),
    "two convolutions joined": (Joined, 2 * (3 + 9 + 2)),
    "a chain with norms": (build, 4 * (3 + 9 + 4 + 2)),
    "shuffled": (Shuffled, 4 * 3 + 16 + 4 * 4 * 9 + 4 * 2),
    "sizes written out": (Widths, 8 * (3 + 8 * 9 + 2)),
}


def grouped_weights(model: nn.Module, groups: Groups) -> int:
    return sum(p.numel() for name, p in model.named_parameters() if name in groups.axis)


@pytest.mark.parametrize("name", list(MADE))
@torch.no_grad()
def test_what_coupled_groups_promise_is_what_compact_leaves(name: str) -> None:
    made, smallest = MADE[name]
    torch.manual_seed(0)
    model = made().eval()
    groups = coupled_groups(model, X)
    weights = dict(model.named_parameters())
    draw = torch.Generator().manual_seed(1)
    found: list[int] = []
    for share in (0.75, 0.5, 0.25, 0.0):
        scores = torch.rand(groups.count, generator=draw)
        alive = (scores < share) | groups.strongest(scores)
        dying = copy.deepcopy(model)
        for weight, mask in groups.masks(alive, weights).items():
            dying.get_parameter(weight).mul_(mask)
        small = compact(dying, X)
        assert same(dying(X), small(X))
        kept = groups.kept_fraction(alive)
        found.append(grouped_weights(small, groups))
        assert found[-1] == round(sum(weights[n].numel() * part for n, part in kept.items()))
    assert found[0] < grouped_weights(model, groups)
    best = min(found[-1], grouped_weights(smallest_of(model, groups), groups))
    assert best <= smallest


def smallest_of(model: nn.Module, groups: Groups) -> nn.Module:
    """What is left of the fewest groups."""
    dying = copy.deepcopy(model)
    alive = fewest(groups, torch.ones(groups.count, dtype=torch.bool), torch.ones(groups.count))
    for weight, mask in groups.masks(alive, dict(model.named_parameters())).items():
        dying.get_parameter(weight).mul_(mask)
    return compact(dying, X)


@pytest.mark.parametrize("name", ["few wide groups", "two convolutions joined", "transposed"])
def test_a_density_that_is_asked_is_there_once_compacted(name: str) -> None:
    torch.manual_seed(0)
    net = nn.ModuleDict({"net": MADE[name][0]()})
    problem = Problem(
        net, {"y": Task(mse_loss)}, [(X, {"y": X[:, :2]})], call=lambda m, x: {"y": m["net"](x)}
    )
    method = GroupLasso(density=0.3, groups="coupled")
    fit(problem, method, steps=4, progress=False)
    groups, weights = method._plan, dict(net.named_parameters())
    alive = groups.norms({name: weights[name].detach() for name in groups.axis}) > 0
    kept = groups.kept_fraction(alive)
    small = compact(net, X, call=problem.call)
    left = grouped_weights(small, groups)
    assert left == round(sum(weights[name].numel() * part for name, part in kept.items()))
    assert 0.1 < left / grouped_weights(net, groups) <= 0.3
