"""Networks whose weights or buffers change as they are looked at: norms of torch, and counters."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dead_channels import same, size
from secateur import compact, compaction, cost, load, save


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.relu(self.a(x)))


@torch.no_grad()
def test_a_spectral_norm_in_training_is_taken_off_as_it_is_in_eval() -> None:
    torch.manual_seed(0)
    model, x = Two().train(), torch.randn(2, 3, 8, 8)
    model.b.weight[:, 0] = 0
    nn.utils.parametrizations.spectral_norm(model.b)
    model.b.parametrizations.weight[0]._u.copy_(
        torch.tensor([0.6, 0.8])
    )  # far from what a look in training makes of it
    before = {name: value.clone() for name, value in model.state_dict().items()}
    small = compact(model, x)
    cost(model, x, {"first": ("a.weight",)})
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert small.a.out_channels == 7
    assert same(model.eval()(x), small.eval()(x))


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
@torch.no_grad()
def test_what_an_old_weight_norm_left_is_loaded_into_a_fresh_one(tmp_path: Path) -> None:
    def made() -> nn.Module:
        torch.manual_seed(0)
        model = Two()
        model.b.weight[:, 0] = 0
        model.a = nn.utils.weight_norm(model.a)
        return model

    x = torch.randn(2, 3, 8, 8)
    small = compact(made(), x)
    loaded = load(made(), save(small, tmp_path / "small.safetensors"))
    assert loaded.a.out_channels == 7
    assert same(small.eval()(x), loaded.eval()(x))


class Counting(Two):
    """Writes a buffer that no input reaches; torch.export gives it back before what the network does."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.b(torch.relu(self.a(x)))


@pytest.mark.filterwarnings("error")
@torch.no_grad()
def test_a_network_that_counts_its_calls_is_not_dead() -> None:
    torch.manual_seed(0)
    model, x = Counting().eval(), torch.randn(2, 3, 8, 8)
    small = compact(model, x)
    made = compaction(small)
    assert made is not None
    assert made.dead == []
    assert int(model.calls) == int(small.calls) == 0


class Widths(nn.Module):
    """A network of any width, with groups of channels for its norm, its convolution or its heads."""

    def __init__(self, way: str, width: int, groups: int = 4) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, width, 1), nn.Conv2d(width, 1, 1)
        self.n = nn.GroupNorm(groups, width) if way == "norm" else nn.Conv2d(width, width, 1, groups=groups)
        with torch.no_grad():
            self.b.weight[:, : width // 2] = 0

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.n(self.a(x)).relu())


@pytest.mark.parametrize("way", ["norm", "convolution"])
def test_a_file_is_for_the_width_that_it_was_cut_from(way: str, tmp_path: Path) -> None:
    x = torch.randn(2, 3, 4, 4)
    small = compact(Widths(way, 16), x)
    save(small, tmp_path / "small.safetensors")
    again = load(Widths(way, 16), tmp_path / "small.safetensors")
    assert same(small(x).detach(), again(x).detach())
    with pytest.raises(
        ValueError, match=r"'a\.weight' is \(16, 3, 1, 1\), and this one's is \(32, 3, 1, 1\)"
    ):
        load(Widths(way, 32), tmp_path / "small.safetensors")


def test_a_file_is_for_the_groups_that_it_was_cut_from(tmp_path: Path) -> None:
    x = torch.randn(2, 3, 4, 4)
    save(compact(Widths("norm", 16), x), tmp_path / "small.safetensors")
    with pytest.raises(ValueError, match="'n' has num_groups 2 once it is cut, and this one's has 1"):
        load(Widths("norm", 16, groups=2), tmp_path / "small.safetensors")
    cut = compact(Widths("norm", 16, groups=2), x)
    with pytest.raises(ValueError, match="other channels were removed"):
        load(cut, tmp_path / "small.safetensors")


class Cast(nn.Module):
    """Chooses its own types, or does not."""

    def __init__(self) -> None:
        super().__init__()
        self.cast, self.a, self.b, self.c = True, nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), nn.Linear(8, 2)
        with torch.no_grad():
            self.a.weight[:5], self.a.bias[:5] = 0, -1
            self.b.weight[:6], self.b.bias[:6] = 0, 0.5

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.cast):
            return self.c(self.b(self.a(x).relu()).relu().mean((2, 3)))


def test_a_weight_of_another_type_is_the_weight() -> None:
    model, x = Cast(), torch.randn(2, 3, 4, 4)
    small = compact(model, x)
    model.cast = False
    assert size(small) == size(compact(model, x)) < size(model) / 2
