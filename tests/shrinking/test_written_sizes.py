"""Networks whose code says sizes itself: what it needs stays, the rest goes, and it is said."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from dead_channels import same
from secateur import compact, compaction


class Written(nn.Module):
    """A size written out in one head; another of the same kind beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 1)
        self.left = nn.ModuleList([nn.Conv2d(16, 16, 1), nn.Conv2d(16, 2, 1)])
        self.right = nn.ModuleList([nn.Conv2d(16, 16, 1), nn.Conv2d(16, 2, 1)])

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        z = torch.relu(self.stem(x))
        a = self.left[0](z).reshape(-1, 16, x.shape[2], x.shape[3])
        return {"left": self.left[1](a), "right": self.right[1](torch.relu(self.right[0](z)))}


@torch.no_grad()
def test_a_size_in_the_code_pins_what_its_line_needs() -> None:
    torch.manual_seed(0)
    model = Written().eval()
    for layer in (model.left[0], model.right[0], model.left[1], model.right[1]):
        layer.weight[:, :8] = 0
    x = torch.randn(2, 3, 4, 4)
    small = compact(model, x)
    assert same(model(x), small(x))
    assert (small.stem.out_channels, small.left[0].out_channels, small.right[0].out_channels) == (8, 16, 8)
    said = [reason for reason in compaction(small).pinned if ".reshape(-1, 16" in reason]
    assert said
    assert "the code of Written" in said[0]


class ByHand(nn.Module):
    """Attention that is told how many heads there are, and divides by a size that it reads."""

    def __init__(self, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(16, 48), nn.Linear(16, 16)
        self.up, self.down = nn.Linear(16, 32), nn.Linear(32, 3)

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        q, k, v = self.qkv(x).chunk(3, -1)
        q, k, v = (t.view(b, n, self.heads, -1).transpose(1, 2) for t in (q, k, v))
        scores = (q @ k.transpose(-1, -2)) / q.shape[-1] ** 0.5
        z = self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(b, n, -1))
        return self.down(torch.relu(self.up(z)))


@torch.no_grad()
def test_heads_written_out_are_kept_and_the_rest_goes() -> None:
    torch.manual_seed(0)
    model = ByHand().eval()
    model.out.weight[:, :4] = 0
    model.down.weight[:, :20] = 0
    x = torch.randn(2, 5, 16)
    small = compact(model, x)
    assert same(model(x), small(x))
    assert (small.qkv.out_features, small.up.out_features) == (48, 12)
    assert any("self.heads" in reason for reason in compaction(small).pinned)


class Halves(nn.Module):
    """Pieces of 8 channels, the number written out."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 16, 1), nn.Conv2d(8, 12, 1), nn.Conv2d(12, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        one, two = self.a(x).split(8, 1)
        return self.c(torch.relu(self.b(one * two)))


@torch.no_grad()
def test_pieces_of_a_written_size_are_kept() -> None:
    torch.manual_seed(0)
    model = Halves().eval()
    model.b.weight[:, :4] = 0
    model.c.weight[:, :6] = 0
    x = torch.randn(2, 3, 4, 4)
    small = compact(model, x)
    assert same(model(x), small(x))
    assert (small.a.out_channels, small.b.out_channels) == (16, 6)


class Scaled(nn.Module):
    """Heads in a branch that counts for a millionth, beside a large constant."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = ByHand()
        self.inner.down = nn.Linear(32, 16)
        self.last = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(x + 1e-6 * self.inner(x)) + 1000


@torch.no_grad()
def test_a_branch_that_counts_for_a_millionth_is_right_too() -> None:
    torch.manual_seed(0)
    model = Scaled().eval()
    model.inner.out.weight[:, :4] = 0
    x = torch.randn(2, 5, 16)
    small = compact(model, x)
    assert small.inner.qkv.out_features == 48
    assert same(model.inner(x), small.inner(x))


@torch.no_grad()
def test_outputs_that_nothing_reaches_are_said() -> None:
    torch.manual_seed(0)
    model, x = Written().eval(), torch.randn(2, 3, 4, 4)
    model.right[1].weight.zero_()
    with pytest.warns(UserWarning, match="outputs right no element depends on the input"):
        small = compact(model, x)
    assert compaction(small).dead == ["right"]
    assert "right" in compaction(small).text()


@torch.no_grad()
def test_the_text_counts_channels_and_is_short() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(40)), nn.Linear(4, 2)
    ).eval()
    for layer in model[:40]:
        layer[0].weight.zero_()
    with pytest.warns(UserWarning, match="depends on the input"):
        text = compaction(compact(model, torch.randn(2, 4))).text()
    assert all(len(line) < 200 for line in text.splitlines()), text
    model = ByHand().eval()
    made = compaction(compact(model, torch.randn(2, 5, 16)))
    assert sum(made.pinned.values()) + made.channels[0] <= 48 + 16 + 32 + 3, made.text()
