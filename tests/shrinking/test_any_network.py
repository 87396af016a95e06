"""Whatever a network is made of, a compacted one computes the same."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from dead_channels import same
from secateur import compact, compaction, load, save
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
