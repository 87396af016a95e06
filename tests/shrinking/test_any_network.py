"""Whatever a network is made of, a compacted one computes the same."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from dead_channels import same
from secateur import compact, load, save
from secateur.shrinking.channels import find_channels


class Language(nn.Module):
    """A head that is the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 12)
        self.up, self.down = nn.Linear(12, 16), nn.Linear(16, 12)
        self.head = nn.Linear(12, 11, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, x: Tensor) -> Tensor:
        z = self.embedding(x)
        return self.head(z + self.down(torch.relu(self.up(z))))


def twice() -> nn.Module:
    layer = nn.Conv2d(8, 8, 1)
    return nn.Sequential(nn.Conv2d(3, 8, 1), layer, nn.ReLU(), layer, nn.Conv2d(8, 2, 1))


@torch.no_grad()
def test_a_head_tied_to_the_embedding(tmp_path) -> None:
    torch.manual_seed(0)
    model = Language().eval()
    model.down.weight[:, :6] = 0
    for index in (2, 5):
        for weight in (model.embedding.weight, model.up.weight):
            weight[:, index] = 0
        model.down.weight[index], model.down.bias[index] = 0, 0
    x = torch.randint(0, 11, (2, 7))
    small = compact(model, x)
    assert same(model(x), small(x))
    assert small.head.weight is small.embedding.weight
    assert (small.up.out_features, small.embedding.weight.shape[1], small.head.in_features) == (10, 10, 10)
    loaded = load(Language(), save(small, tmp_path / "small.safetensors")).eval()
    assert loaded.head.weight is loaded.embedding.weight
    assert same(small(x), loaded(x), 0.0)


@torch.no_grad()
def test_an_embedding_is_not_folded_with_the_head_that_shares_it() -> None:
    model = Language().eval()
    model.down.weight.zero_()
    x = torch.randint(0, 11, (2, 7))
    model.embedding.weight[:, 3] = 0.7
    assert same(model(x), compact(model, x)(x))


@torch.no_grad()
def test_a_layer_with_two_names() -> None:
    torch.manual_seed(0)
    model = twice().eval()
    for index in (1, 4):
        model[1].weight[index], model[1].weight[:, index], model[1].bias[index] = 0, 0, 0
        model[4].weight[:, index] = 0
    x = torch.randn(2, 3, 5, 5)
    small = compact(model, x)
    assert same(model(x), small(x))
    assert small[1] is small[3]
    assert small[1].weight.shape[:2] == (6, 6)


class Film(nn.Module):
    """A Linear on one vector, by a scalar number of a task."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.film = nn.Embedding(4, 6), nn.Linear(6, 8)
        self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        shift = self.film(torch.relu(self.table(torch.tensor(2))))
        return self.b(torch.relu(self.a(x) + shift[:, None, None]))


class Keeps(nn.Module):
    """Activations are left with the modules."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 3)
        self.last: Tensor | None = None
        self.all: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.last = torch.relu(self.a(x))
        self.all = [self.last]
        return self.b(self.last)


@torch.no_grad()
def test_a_linear_layer_on_one_vector() -> None:
    torch.manual_seed(0)
    model = Film().eval()
    model.b.weight[:, :3] = 0
    x = torch.randn(2, 3, 4, 4)
    small = compact(model, x)
    assert same(model(x), small(x))
    assert (small.film.out_features, small.a.out_channels) == (5, 5)


def test_modules_that_keep_activations_are_left_as_they_were() -> None:
    torch.manual_seed(0)
    model, x = Keeps().eval(), torch.randn(2, 4)
    with torch.no_grad():
        model.b.weight[:, :4] = 0
    for _ in range(2):
        last = model.last
        small = compact(model, x)
        find_channels(model, x)
        assert model.last is last
        assert small.a.out_features == 4
        assert same(model(x).detach(), small(x).detach())
        model(x)


class Pixels(nn.Module):
    """Bytes in; the code says float32 itself."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        z = torch.zeros(x.shape[0], 3, *x.shape[2:], dtype=torch.float32)
        z[:] = x.float() / 255
        return self.b(torch.relu(self.a(z)))


@torch.no_grad()
def test_a_forward_pass_that_names_its_types() -> None:
    torch.manual_seed(0)
    model = Pixels().eval()
    model.a.weight[:3] = 0
    model.a.bias[:3] = torch.tensor([0.3, -0.2, 0.5])
    x = torch.randint(0, 256, (2, 3, 6, 6), dtype=torch.uint8)
    small = compact(model, x)
    assert same(model(x), small(x))
    assert small.a.out_channels == 5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_half_precision_with_folded_constants(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 12, 1), nn.ReLU(), nn.Conv2d(12, 4, 1, bias=False)).to(dtype).eval()
    model[0].weight[:8] = 0
    model[0].bias.fill_(0.7)
    x = torch.randn(1, 3, 5, 5, dtype=dtype)
    small = compact(model, x)
    assert {p.dtype for p in small.parameters()} == {dtype}
    assert small[0].out_channels == 4
    assert same(model(x).float(), small(x).float(), 0.05)
