"""Weights that are no matrix of their own: experts in one parameter, projections into heads, tables that are looked up."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dead_channels import same
from secateur import compact, load, save


class Experts(nn.Module):
    """Of Mixtral's kind, every expert on every token: two layers of each of three experts in a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(6, 8), nn.Linear(8, 2)
        self.up, self.down = nn.Parameter(torch.randn(3, 8, 10)), nn.Parameter(torch.randn(3, 5, 8))
        self.gate = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        a, b = (x[:, None] @ self.up).chunk(2, -1)  # (B, 3, N, 5) each
        y = (torch.relu(a) * b) @ self.down
        return self.head((y * self.gate(x).transpose(1, 2).softmax(1)[..., None]).sum(1))


@torch.no_grad()
def test_units_of_experts_go_where_no_expert_reads_them() -> None:
    torch.manual_seed(0)
    model, x = Experts().eval(), torch.randn(2, 4, 6)
    model.down[:, :2] = 0
    model.head.weight[:, :3] = 0
    small = compact(model, x)
    assert same(model(x), small(x))
    assert small.up.shape == (3, 8, 6)
    assert small.down.shape == (3, 3, 5)


class Heads(nn.Module):
    """Of XLNet: projections into heads and back, written by their letters."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Parameter(torch.randn(8, 4, 3)) for _ in range(4))
        self.bias = nn.Parameter(torch.randn(4, 3))
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (torch.einsum("bih,hnd->bind", x, w) for w in (self.q, self.k, self.v))
        scores = torch.einsum("bind,bjnd->bnij", q + self.bias, k).softmax(-1)
        y = torch.einsum("bnij,bjnd->bind", scores, v)
        return self.head(torch.einsum("bind,hnd->bih", y, self.o))


@torch.no_grad()
def test_heads_written_by_letters_go_whole(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = Heads().eval(), torch.randn(2, 5, 8)
    model.o[:, [0, 2]] = 0
    model.head.weight[:, :3] = 0
    small = compact(model, x)
    assert same(model(x), small(x))
    assert small.q.shape == (8, 2, 3)
    assert small.o.shape == (5, 2, 3)
    assert small.bias.shape == (2, 3)
    loaded = load(Heads(), save(small, tmp_path / "small.safetensors")).eval()
    assert same(small(x), loaded(x), 0.0)


class PerHead(nn.Module):
    """A matrix for each head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.mix, self.head = (
            nn.Linear(6, 12),
            nn.Parameter(torch.randn(4, 3, 3)),
            nn.Linear(12, 2),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x).unflatten(-1, (-1, 3)).transpose(1, 2) @ self.mix  # (B, 4, N, 3)
        return self.head(torch.relu(y).transpose(1, 2).flatten(2))


@torch.no_grad()
def test_a_head_takes_its_matrix_along() -> None:
    torch.manual_seed(0)
    model, x = PerHead().eval(), torch.randn(2, 5, 6)
    model.head.weight[:, 3:9] = 0
    small = compact(model, x)
    assert same(model(x), small(x))
    assert small.mix.shape == (2, 3, 3)
    assert small.stem.out_features == 6


class First(nn.Module):
    """A weight that comes first, and one channel's own rates of several states (Mamba)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.step, self.head = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 2)
        self.states = nn.Linear(8, 3)
        self.rates = nn.Parameter(torch.rand(8, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        step = torch.tanh(self.step.weight @ x.transpose(1, 2))  # (B, 8, N)
        kept = torch.exp(-self.rates.exp()[None, :, None] * step[..., None])  # (B, 8, N, 3)
        given = kept * self.states(x)[:, None]
        return self.head((given.sum(-1) * step).transpose(1, 2))


@torch.no_grad()
def test_a_weight_that_comes_first_and_a_table_of_rates() -> None:
    torch.manual_seed(0)
    model, x = First().eval(), torch.randn(2, 5, 6)
    model.head.weight[:, :3] = 0
    small = compact(model, x)
    assert same(model(x), small(x))
    assert small.step.weight.shape == (5, 8)
    assert small.rates.shape == (5, 3)


class Chosen(nn.Module):
    """Tokens, and rows of a table, that the network chooses itself."""

    def __init__(self, select: bool) -> None:
        super().__init__()
        self.select = select
        self.stem, self.score, self.out = nn.Linear(6, 8), nn.Linear(6, 1), nn.Linear(8, 2)
        self.table = nn.Parameter(torch.randn(7, 8))

    def forward(self, x: Tensor) -> Tensor:
        order = self.score(x).flatten().argsort()  # (N,)
        y = torch.relu(self.stem(x))
        y = y.index_select(0, order) if self.select else y[order]
        return self.out(y[:3] * self.table[order[:3]])


@pytest.mark.parametrize("select", [False, True])
@torch.no_grad()
def test_tokens_chosen_by_the_network(select: bool) -> None:
    torch.manual_seed(0)
    model, x = Chosen(select).eval(), torch.randn(7, 6)
    model.out.weight[:, :3] = 0
    model.stem.weight[4], model.stem.bias[4] = 0, -1
    small = compact(model, x)
    for given in (x, x.flip(0)):
        assert same(model(given), small(given))
    assert small.stem.out_features == small.table.shape[1] == 4


class Scan(nn.Module):
    """States of every channel, read by weights that the input gives, one for each state (Mamba)."""

    def __init__(self, flipped: bool) -> None:
        super().__init__()
        self.flipped = flipped
        self.stem, self.states, self.head = nn.Linear(6, 8), nn.Linear(6, 3), nn.Linear(8, 2)
        self.rates = nn.Parameter(torch.rand(8, 3))

    def forward(self, x: Tensor) -> Tensor:
        held = self.stem(x)[..., None] * self.rates  # (B, N, 8, 3)
        read = self.states(x)
        if self.flipped:
            return self.head((read[..., None, :] @ held.transpose(-1, -2))[..., 0, :])
        return self.head((held @ read[..., None])[..., 0])


@pytest.mark.parametrize("flipped", [False, True])
@torch.no_grad()
def test_states_are_read_and_channels_go(flipped: bool) -> None:
    torch.manual_seed(0)
    model, x = Scan(flipped).eval(), torch.randn(2, 5, 6)
    model.head.weight[:, :3] = 0
    small = compact(model, x)
    assert same(model(x), small(x))
    assert small.stem.out_features == small.rates.shape[0] == 5


class Windows(nn.Module):
    """Of Swin: what is added to the scores of each head is looked up in a table by places that are fixed."""

    def __init__(self, *, fused: bool, masked: bool) -> None:
        super().__init__()
        self.fused, self.masked = fused, masked
        self.qkv, self.out, self.head = nn.Linear(6, 36), nn.Linear(12, 8), nn.Linear(8, 2)
        self.table = nn.Parameter(torch.randn(9, 4))
        self.register_buffer("places", torch.arange(5)[:, None] - torch.arange(5) + 4)

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, -1, 3).permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.table[self.places.flatten()].view(n, n, -1).permute(2, 0, 1)[None]
        if self.masked:
            bias = x[:, None, None, :, 0]  # of the input, for all heads
        if self.fused:
            y = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        else:
            y = (q @ k.transpose(-1, -2) + bias).softmax(-1) @ v
        return self.head(self.out(y.transpose(1, 2).flatten(2)))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("fused", [False, True])
@torch.no_grad()
def test_a_head_takes_its_column_of_a_table_along(fused: bool, masked: bool) -> None:
    torch.manual_seed(0)
    model, x = Windows(fused=fused, masked=masked).eval(), torch.randn(2, 5, 6)
    model.out.weight[:, 3:9] = 0
    small = compact(model, x)
    assert same(model(x), small(x))
    assert small.qkv.out_features == 18
    assert masked or small.table.shape == (9, 2)


class Queries(nn.Module):
    """Learned queries that look at all places."""

    def __init__(self) -> None:
        super().__init__()
        self.queries, self.k, self.v = nn.Parameter(torch.randn(1, 3, 8)), nn.Linear(6, 8), nn.Linear(6, 7)
        self.head = nn.Linear(7, 2)

    def forward(self, x: Tensor) -> Tensor:
        scores = self.queries.expand(len(x), -1, -1) @ self.k(x).transpose(1, 2)
        return self.head(scores.softmax(-1) @ self.v(x))


@torch.no_grad()
def test_learned_queries_stay_and_what_they_read_goes() -> None:
    torch.manual_seed(0)
    model, x = Queries().eval(), torch.randn(2, 5, 6)
    model.head.weight[:, :3] = 0
    model.queries[..., :2] = 0
    small = compact(model, x)
    assert same(model(x), small(x))
    assert small.v.out_features == 4
    assert small.queries.shape == (1, 3, 6)
