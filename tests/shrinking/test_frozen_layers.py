"""Frozen layers are left out: no channel that one reads or gives goes; frozen normalisations go with what they are for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from problems import two_heads
from secateur import GroupLasso, Problem, Task, compact, fit
from secateur.shrinking import coupled_groups

X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """``part``, between channels that can go and channels that can go."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.first, self.part, self.last = nn.Conv2d(3, 12, 1), part, nn.Conv2d(12, 12, 1)
        self.norm, self.head = nn.BatchNorm2d(12), nn.Conv2d(12, 2, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        z = torch.relu(self.part(torch.relu(self.first(x))))
        return {"task": self.head(torch.relu(self.norm(self.last(z))))}


class Residual(nn.Module):
    """Its inner width is its own; what it adds to is not."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(12, 10, 1), nn.Conv2d(10, 12, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.b(torch.relu(self.a(x)))


class Linear(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class Einsum(nn.Module):
    """A weight that no layer of torch holds."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 12, 4))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bchw,gco->bgohw", x, self.weight).flatten(1, 2)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(12, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).movedim(1, -1)
        return self.inner(tokens, tokens, tokens)[0].movedim(-1, 1).unflatten(2, x.shape[2:])


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.GRU(12, 12, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.flatten(2).movedim(1, -1))[0].movedim(-1, 1).unflatten(2, x.shape[2:])


class Looked(nn.Module):
    """Adds a row of a table that is looked up."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Embedding(5, 12)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner((x[:, 0] > 0).long()).movedim(-1, 1)


PARTS: dict[str, Any] = {
    "convolution": lambda: nn.Conv2d(12, 12, 3, padding=1),
    "transposed": lambda: nn.ConvTranspose2d(12, 12, 1),
    "depthwise": lambda: nn.Conv2d(12, 12, 3, padding=1, groups=12),
    "groups": lambda: nn.Conv2d(12, 12, 1, groups=3),
    "transposed groups": lambda: nn.ConvTranspose2d(12, 12, 1, groups=3),
    "linear": lambda: Linear(12, 12),
    "residual": Residual,
    "einsum": Einsum,
    "attention": Attention,
    "recurrent": Recurrent,
    "embedding": Looked,
}


def shrunk(model: nn.Module, density: float, groups: Any = "coupled") -> nn.Module:
    with torch.no_grad():
        target = torch.randn_like(model.eval()(X)["task"])
    problem = Problem(model, {"task": Task(F.mse_loss)}, [(X, {"task": target})])
    fit(problem, GroupLasso(density=density, groups=groups, metric="euclidean"), steps=4, progress=False)
    return compact(model.eval(), X)


@pytest.mark.parametrize("kind", PARTS)
def test_a_frozen_layer_is_whole_after_training_and_compaction(kind: str) -> None:
    torch.manual_seed(0)
    model = Net(PARTS[kind]())
    before = {name: p.detach().clone() for name, p in model.part.requires_grad_(False).named_parameters()}
    small = shrunk(model, 0.4)
    after = dict(small.part.named_parameters())
    assert after.keys() == before.keys()
    for name, value in before.items():
        assert torch.equal(after[name], value), name
        assert not after[name].requires_grad
    assert small.first.out_channels == small.last.in_channels == 12
    assert small.last.out_channels < 8


def test_the_inside_of_a_branch_goes_where_what_it_adds_to_is_frozen() -> None:
    torch.manual_seed(0)
    model = Net(Residual())
    model.first.requires_grad_(False)
    small = shrunk(model, 0.4)
    assert small.first.out_channels == small.part.a.in_channels == small.part.b.out_channels == 12
    assert small.part.a.out_channels < 10


def test_a_frozen_norm_and_frozen_biases_go_with_their_channels() -> None:
    torch.manual_seed(0)
    model = Net(nn.Conv2d(12, 12, 1))
    free = coupled_groups(model, X).count
    model.norm.requires_grad_(False)
    for layer in (model.first, model.part, model.last):
        layer.bias.requires_grad_(False)
    assert coupled_groups(model, X).count == free
    small = shrunk(model, 0.4)
    assert small.norm.num_features == small.last.out_channels < 12
    assert not small.norm.weight.requires_grad


def test_a_frozen_head_keeps_what_it_reads() -> None:
    problem = two_heads()
    problem.model.colour.requires_grad_(False)
    groups = coupled_groups(problem.model, X)
    assert "colour.weight" not in groups.axis
    assert bool((groups.rows["trunk.4.weight"] < 0).all())
    assert bool((groups.index["trunk.4.weight"] >= 0).all())
    assert groups.pins["a frozen layer reads or gives them"] == 16


class Auxiliary(Net):
    """With a head for training alone."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(12, 12, 1))
        self.other = nn.Conv2d(12, 2, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        found = super().forward(x)
        if self.training:
            found["other"] = self.other(torch.relu(self.first(x)))
        return found


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_head_of_training_alone_keeps_what_it_reads(frozen: bool) -> None:
    model = Auxiliary()
    model.other.requires_grad_(not frozen)
    groups = coupled_groups(model, X)
    assert bool((groups.rows["first.weight"] < 0).all()) == frozen
    assert bool((groups.rows["part.weight"] >= 0).all())


def test_all_frozen_says_so() -> None:
    model = two_heads().model.requires_grad_(False)
    with pytest.raises(ValueError, match=r"no channel that can be removed: .*a frozen layer reads or gives"):
        coupled_groups(model, X)


def test_a_bias_that_compaction_gives_a_frozen_layer_is_frozen() -> None:
    torch.manual_seed(0)
    model = Net(nn.Conv2d(12, 12, 1, bias=False))
    model.part.requires_grad_(False)
    with torch.no_grad():
        model.first.weight[0], model.first.bias[0] = 0.0, 1.0
    small = compact(model.eval(), X)
    assert small.part.in_channels == 11
    assert not small.part.bias.requires_grad


@pytest.mark.parametrize("norm", [parametrizations.weight_norm, parametrizations.spectral_norm])
def test_a_layer_whose_weight_is_computed_keeps_what_it_reads_and_gives(norm: Any) -> None:
    model = Net(norm(nn.Conv2d(12, 12, 1)))
    groups = coupled_groups(model, X)
    assert groups.axis.keys() == {"first.weight", "last.weight", "head.weight"}
    assert groups.count == 12
    assert groups.pins["a layer whose weight a norm or mask of torch computes reads or gives them"] == 24
    assert hasattr(model.part, "parametrizations")


class ByKeywords(Net):
    """Takes no input by its place."""

    def forward(self, *, image: Tensor) -> dict[str, Tensor]:  # pyright: ignore
        return super().forward(image)


def test_a_model_that_is_called_in_its_own_way() -> None:
    model = ByKeywords(nn.Conv2d(12, 12, 1))
    groups = coupled_groups(model, X, call=lambda model, x: model(image=x))
    assert groups.count == coupled_groups(Net(nn.Conv2d(12, 12, 1)), X).count
    with pytest.raises(ValueError, match=r"coupled_groups: the model fails on example.*call=lambda model, x"):
        coupled_groups(model, X)
