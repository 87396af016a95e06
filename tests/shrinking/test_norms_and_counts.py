"""Networks whose weights or buffers change as they are looked at: norms of torch, and counters."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dead_channels import same
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
