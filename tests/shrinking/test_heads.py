"""Attention and what stands beside it in one module: heads are counted, hidden units are not, of which there may be as many."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import VisionTransformer

from dead_channels import same
from secateur import compact, compaction, load, save
from secateur.shrinking import coupled_groups
from secateur.shrinking.compaction import Compaction, rebuild

HEADS, WIDTH = 4, 8
WHOLE = HEADS * WIDTH
X = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(0))


class Block(nn.Module):
    """Attention, once or twice, and hidden units in one module, which says how many heads there are.

    Args:
        letters: Of the projections of each attention.
        given: Whether what comes in is laid out in heads too.
    """

    def __init__(self, *letters: str, given: bool = False) -> None:
        super().__init__()
        self.num_heads, self.head_dim = HEADS, WIDTH
        self.letters, self.given = letters, given
        for letter in "".join(letters):
            self.add_module(letter, nn.Linear(WHOLE, WHOLE))
        self.fc1, self.fc2 = nn.Linear(WHOLE, WHOLE), nn.Linear(WHOLE, WHOLE)

    def laid(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], x.shape[1], self.num_heads, self.head_dim).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        added = self.laid(x.new_ones(1, 1, WHOLE) * x.mean((1, 2), keepdim=True)).sum() if self.given else 0.0
        for letters in self.letters:
            query, key, value, out = (self.get_submodule(letter) for letter in letters)
            found = F.scaled_dot_product_attention(*(self.laid(one(x)) for one in (query, key, value)))
            x = x + out(found.transpose(1, 2).flatten(2))
        return x + self.fc2(F.gelu(self.fc1(x))) + added


class Around(nn.Module):
    def __init__(self, *letters: str, given: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.block, self.head = (
            nn.Linear(6, WHOLE),
            Block(*letters, given=given),
            nn.Linear(WHOLE, 3),
        )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"a": self.head(self.block(self.stem(x)))}


@torch.no_grad()
def dying(model: Around, **columns: list[int]) -> Around:
    """With what reads so many channels, or heads, dead."""
    for layer, places in columns.items():
        model.block.get_submodule(layer).weight[:, places] = 0
    return model


def heads(*numbers: int) -> list[int]:
    return [place for number in numbers for place in range(number * WIDTH, (number + 1) * WIDTH)]


@pytest.mark.parametrize("dead", [7, 16, 24])
def test_hidden_units_are_no_heads(dead: int) -> None:
    small = compact(dying(Around("qkvo"), fc2=list(range(dead))), X)
    assert small.block.fc1.weight.shape[0] == WHOLE - dead
    assert small.block.num_heads == HEADS
    assert not any("needs its channels" in reason for reason in compaction(small).pinned)


def test_channels_of_the_residual_stream_are_no_heads() -> None:
    model = Around("qkvo")
    with torch.no_grad():
        for layer in (*model.block.children(), model.head):
            if layer not in (model.block.o, model.block.fc2):
                layer.weight[:, :WIDTH] = 0
    small = compact(model, X)
    assert small.block.o.weight.shape == (WHOLE - WIDTH, WHOLE)
    assert small.block.num_heads == HEADS


def test_what_is_promised_of_hidden_units_goes() -> None:
    model = Around("qkvo")
    groups = coupled_groups(model, X)
    own = groups.index["block.fc2.weight"]
    assert bool((own >= 0).all())
    small = compact(dying(model, fc2=list(range(16))), X)
    assert small.block.fc2.weight.shape[1] == 16


def test_a_head_goes_beside_hidden_units(tmp_path: Path) -> None:
    model = dying(Around("qkvo"), o=heads(1), fc2=list(range(16)))
    small = compact(model, X)
    assert (small.block.num_heads, small.block.q.out_features, small.block.fc1.out_features) == (3, 24, 16)
    save(small, tmp_path / "small.safetensors")
    loaded = load(Around("qkvo"), tmp_path / "small.safetensors")
    assert loaded.block.num_heads == 3
    assert torch.equal(loaded(X)["a"], small(X)["a"])
    found = compaction(small).to_dict()
    del found["told"]  # of a file that is older
    assert rebuild(Around("qkvo"), Compaction.from_dict(found)).block.num_heads == 3


def test_hidden_units_of_a_file_are_no_heads(tmp_path: Path) -> None:
    small = compact(dying(Around("qkvo"), fc2=list(range(16))), X)
    save(small, tmp_path / "small.safetensors")
    loaded = load(Around("qkvo"), tmp_path / "small.safetensors")
    assert loaded.block.num_heads == HEADS
    assert torch.equal(loaded(X)["a"], small(X)["a"])


def test_two_attentions_of_one_module_lose_as_many_heads_or_none() -> None:
    small = compact(dying(Around("qkvo", "abcd"), o=heads(1), d=heads(2)), X)
    assert (small.block.num_heads, small.block.q.out_features, small.block.a.out_features) == (3, 24, 24)
    small = compact(dying(Around("qkvo", "abcd"), o=heads(1), d=heads(0, 2), fc2=list(range(16))), X)
    assert (small.block.num_heads, small.block.q.out_features, small.block.a.out_features) == (4, 32, 32)
    assert small.block.fc1.out_features == 16


def test_heads_that_go_by_chance_alone_are_not_promised() -> None:
    groups = coupled_groups(Around("qkvo", "abcd"), X)
    assert all(
        bool((groups.index[f"block.{letter}.weight"] < 0).all())
        for letter in "od"
        if f"block.{letter}.weight" in groups.index
    )
    assert bool((groups.index["block.fc2.weight"] >= 0).all())


def test_where_the_number_of_heads_is_used_for_more_it_stays_and_the_rest_goes() -> None:
    small = compact(dying(Around("qkvo", given=True), o=heads(1), fc2=list(range(7))), X)
    assert (small.block.num_heads, small.block.q.out_features, small.block.fc1.out_features) == (4, 32, 25)


def _vision() -> nn.Module:
    network = VisionTransformer(32, 16, 2, 4, 32, 64, num_classes=5)
    nn.init.normal_(network.heads.head.weight)
    return network


def _encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    return nn.Sequential(nn.Linear(8, 32), encoder, nn.Linear(32, 5))


@pytest.mark.filterwarnings("ignore:compact. of the network:UserWarning")
@pytest.mark.parametrize(
    ("kind", "x"), [(_vision, torch.randn(2, 3, 32, 32)), (_encoder, torch.randn(2, 7, 8))]
)
@torch.no_grad()
def test_heads_that_stay_keep_the_hidden_units_of_no_block(kind: Callable[[], nn.Module], x: Tensor) -> None:
    torch.manual_seed(0)
    network = kind().eval()
    assert coupled_groups(network, x).count == 2 * 64
    hidden = [name for name, p in network.named_parameters() if tuple(p.shape) == (32, 64)]
    for name in hidden:
        network.get_parameter(name)[:, ::2] = 0
    for block in network.modules():
        if isinstance(block, nn.MultiheadAttention):
            block.out_proj.weight[:, :8] = 0  # a head that is dead
    small = compact(network, x)
    assert same(network(x), small(x))
    assert [small.get_parameter(name).shape[1] for name in hidden] == [32, 32]
