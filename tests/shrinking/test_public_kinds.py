"""What public networks do and these small ones do too; each once kept something that could go, or was not taken at all."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dead_channels import same
from secateur import compact


class Picked(nn.Module):
    """A sentence is what stands at its last mark (BART): how many there are is in the values; so is how far it is scaled."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.a, self.b, self.head = (
            nn.Embedding(9, 8), nn.Linear(8, 12), nn.Linear(12, 8), nn.Linear(8, 3),
        )  # fmt: skip

    def forward(self, words: Tensor) -> Tensor:
        x = self.b(torch.relu(self.a(self.words(words))))
        marked = x[words == 2, :].view(len(words), -1, x.shape[-1])
        return self.head(marked[:, -1]) * (words[0] == 2).sum().item()


@torch.no_grad()
def test_sizes_that_values_decide_are_those_of_the_example() -> None:
    torch.manual_seed(0)
    model = Picked().eval()
    model.b.weight[:, :5] = 0
    words = torch.randint(3, 9, (2, 5))
    words[:, 3:] = 2
    small = compact(model, words)
    assert small.a.out_features == 7
    for x in (words, words.flip(1)):
        assert same(model(x), small(x))


class Between(nn.Module):
    """Two layers, and what other names, types and sums of products do in between."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 3)
        self.register_buffer("places", torch.rand(9, 6))

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.relu(self.a(x)))


class Renamed(Between):
    """Of ConvBERT."""

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.a(x))
        return self.b(torch.subtract(torch.multiply(y, y), torch.divide(y.clip(0, 1), 2.0)))


class Typed(Between):
    """Of Funnel and CTRL: only the type of another tensor is taken, and a buffer is looked up in it."""

    def forward(self, x: Tensor) -> Tensor:
        places = self.places.to(x.dtype)[torch.arange(x.shape[1], device=x.device)]
        y = torch.relu(self.a(x + places.to(x.device)))
        seen = torch.ones(x.shape[:2], dtype=torch.long).type_as(y)
        return self.b(y * seen[..., None].to(y))


class Summed(Between):
    """Of XLNet and BoTNet: sums over places written by their letters."""

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.a(x))
        weights = torch.einsum("bid,bjd->bij", x, x).softmax(-1)
        return self.b(torch.einsum("bij,bjd->bid", weights, y))


class Shifted(Between):
    """Of BLOOM: what is added goes into the product."""

    def forward(self, x: Tensor) -> Tensor:
        y, near = torch.relu(self.a(x)), torch.ones(len(x), x.shape[1], x.shape[1])
        weights = near.baddbmm(batch1=y, batch2=y.transpose(1, 2), beta=0.5, alpha=0.1).softmax(-1)
        return self.b(torch.bmm(weights, y))


@pytest.mark.parametrize(("kind", "left"), [(Renamed, 4), (Typed, 4), (Summed, 4), (Shifted, 5)])
@torch.no_grad()
def test_what_is_known_by_another_name_is_followed(kind: type[Between], left: int) -> None:
    torch.manual_seed(0)
    model, x = kind().eval(), torch.randn(2, 5, 6)
    model.a.weight[2:5], model.a.bias[2:5] = 0, 0
    model.b.weight[:, 0] = 0
    small = compact(model, x)
    assert small.a.out_features == left
    assert same(model(x), small(x))


class Scaled(Between):
    """Of RWKV: a weight is computed from one, and what goes in is as it was."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(torch.relu(self.a(x)), self.b.weight / 2)


@torch.no_grad()
def test_a_layer_whose_weight_is_computed_is_taken() -> None:
    torch.manual_seed(0)
    model, x = Scaled().eval(), torch.randn(2, 5, 6)
    model.b.weight[:, 0] = 0
    small = compact(model, x)
    assert small.a.out_features == 8
    assert same(model(x), small(x))


class Blurred(nn.Module):
    """Of BlurPool: one kernel, a buffer, for as many channels as come in; what is pooled is put back (SegNet)."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)
        self.register_buffer("kernel", torch.rand(1, 1, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.a(x))
        y, places = F.max_pool2d(y, 2, return_indices=True)
        y = F.conv2d(y, self.kernel.expand(y.shape[1], -1, -1, -1), padding=1, groups=y.shape[1])
        return self.b(F.max_unpool2d(y, places, 2))


class Kernels(Blurred):
    """A kernel for each channel, computed from what goes in."""

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.a(x))
        return self.b(F.conv2d(y, y.mean((0, 3), keepdim=True).mT.transpose(0, 1), groups=y.shape[1]))


class Ranked(Blurred):
    """The largest, the middle, the order and the place along space; and functions that are seldom used."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        y = y.sort(dim=-1, descending=True).values * y.max(dim=2, keepdim=True).values + y.topk(8, dim=3)[0]
        y = y + y.median(dim=3, keepdim=True).values * y.argmax(3, keepdim=True) + y.argmax(2)[:, :, None]
        return self.b(torch.max(torch.atan2(y, y.cosh()), torch.hypot(y, y.unfold(2, 1, 1)[..., 0])))


class Over(Blurred):
    """The largest over all channels: a negative one that stays alone may be it."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        return self.b(y - y.max(dim=1, keepdim=True).values)


@pytest.mark.parametrize(("kind", "left"), [(Blurred, 5), (Kernels, 5), (Ranked, 7), (Over, 8)])
@torch.no_grad()
def test_channels_of_images_go_through(kind: type[Blurred], left: int) -> None:
    torch.manual_seed(0)
    model, x = kind().eval(), torch.randn(2, 3, 8, 8)
    model.b.weight[:, 0] = 0
    if kind in (Blurred, Kernels):  # zero, and stays it
        model.a.weight[3:5], model.a.bias[3:5] = 0, 0
    small = compact(model, x)
    assert small.a.out_channels == left
    assert same(model(x), small(x))


@torch.no_grad()
def test_an_old_spectral_norm_is_taken_off() -> None:
    torch.manual_seed(0)
    model, x = Blurred().eval(), torch.randn(2, 3, 8, 8)
    model.b.weight[:, 0] = 0
    model.b = nn.utils.spectral_norm(model.b).eval()
    before = model(x)
    small = compact(model, x)
    assert small.a.out_channels == 7
    assert isinstance(small.b.weight, nn.Parameter)
    assert same(before, small(x))
    assert hasattr(model.b, "weight_orig")


class Dropped(Between):
    """Of BigBird: the operation that autograd's dropout is made of."""

    def forward(self, x: Tensor) -> Tensor:
        y, kept = torch.native_dropout(torch.relu(self.a(x)), 0.5, self.training)
        return self.b(y * kept)


@torch.no_grad()
def test_a_dropout_that_says_what_it_kept_is_followed() -> None:
    torch.manual_seed(0)
    model, x = Dropped().eval(), torch.randn(2, 5, 6)
    model.b.weight[:, 0] = 0
    small = compact(model, x)
    assert small.a.out_features == 7
    assert same(model(x), small(x))
