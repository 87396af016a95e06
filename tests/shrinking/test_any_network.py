"""Whatever a network is made of, a compacted one computes the same."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dead_channels import same
from secateur import compact, load, save


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
