"""Operations and wrappers that a compacted network goes through."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dead_channels import same
from secateur import compact, compaction, load, save


class Between(nn.Module):
    """Two layers, and something in between."""

    def __init__(self, between: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.between(self.a(x)))


class WithNorm(Between):
    def __init__(self) -> None:
        super().__init__(torch.relu)
        self.norm = nn.GroupNorm(4, 8, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.norm(self.a(x)))


class Code(Between):
    """A parameter with a name that torch.export uses."""

    def __init__(self) -> None:
        super().__init__(torch.relu)
        self.code = nn.Parameter(torch.rand(8, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x) * self.code)


class Masked(Between):
    def __init__(self) -> None:
        super().__init__(torch.relu)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).masked_fill(torch.tensor([True, False]).view(2, 1, 1), float("-inf"))


class Compiled(Between):
    """A part of it is compiled."""

    def __init__(self) -> None:
        super().__init__(torch.relu)
        self.a = torch.compile(self.a, backend="eager")  # type: ignore[assignment]


X = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(3))
NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "shuffle": (lambda: Between(lambda z: F.channel_shuffle(z, 2)), 4),
    "norm": (WithNorm, 4),
    "code": (Code, 4),
    "masked": (Masked, 4),
    "compiled": (lambda: Between(torch.relu), 4),
    "compiled inside": (Compiled, 4),
    "normalised": (lambda: Between(lambda z: F.normalize(torch.relu(z), dim=1)), 4),
    "summed": (lambda: Between(lambda z: z.relu() * z.relu().sum(1, keepdim=True)), 4),
}


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_what_is_in_between_is_followed(name: str) -> None:
    torch.manual_seed(0)
    build, left = NETWORKS[name]
    model = build().eval()
    dead = [0, 1, 4, 5]  # of shuffled halves: the first two of each, which come to the front
    for p in (model.a.weight, model.a.bias):
        p[dead] = 0
    model.b.weight[
        :, [0, 1, 2, 3] if name == "shuffle" else [] if name in ("normalised", "summed") else dead
    ] = 0
    given = torch.compile(model) if name == "compiled" else model
    small = compact(given, X)  # type: ignore[arg-type]
    assert same(model(X)[:, 1:], small(X)[:, 1:])
    assert torch.equal(model(X).isinf(), small(X).isinf())
    assert small.a.out_channels == left


@torch.no_grad()
def test_a_norm_without_weights_is_loaded_with_its_groups(tmp_path) -> None:
    model = WithNorm().eval()
    model.b.weight[:, :4] = 0
    small = compact(model, X)
    loaded = load(WithNorm(), save(small, tmp_path / "small.safetensors")).eval()
    assert (loaded.norm.num_groups, loaded.norm.num_channels) == (2, 4)
    assert same(small(X), loaded(X), 0.0)


@torch.no_grad()
def test_an_instance_norm_without_weights_is_told_its_channels(tmp_path) -> None:
    """Torch warned of them at every call."""
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.InstanceNorm2d(8), nn.Conv2d(8, 2, 1)).eval()
    model[2].weight[:, :3] = 0
    small = compact(model, X)
    loaded = load(
        nn.Sequential(nn.Conv2d(3, 8, 1), nn.InstanceNorm2d(8), nn.Conv2d(8, 2, 1)),
        save(small, tmp_path / "s.safetensors"),
    )
    assert small[1].num_features == loaded[1].num_features == 5
    assert same(model(X), loaded.eval()(X))


@pytest.mark.parametrize("old", [False, True])
@torch.no_grad()
@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
def test_weight_norms_of_the_users_own_are_taken_off(old: bool, tmp_path) -> None:
    def build() -> Between:
        model = Between(torch.relu)
        wrap = nn.utils.weight_norm if old else nn.utils.parametrizations.weight_norm
        wrap(model.a)
        return model.eval()

    torch.manual_seed(0)
    model = build()
    model.b.weight[:, :4] = 0
    with torch.enable_grad():
        optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
        model(X).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    model.b.weight[:, :4] = 0
    before = {name: value.clone() for name, value in model.state_dict().items()}
    small = compact(model, X, optimizer=optimizer)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert small.a.out_channels == 4
    assert same(model(X), small(X))
    assert same(model(X), compact(model, X)(X)), "the model is whole"
    assert {id(p) for p in small.parameters()} == {id(p) for p in optimizer.param_groups[0]["params"]}
    assert same(small(X), load(build(), save(small, tmp_path / "s.safetensors")).eval()(X), 0.0)


class Transposed(nn.Module):
    """The decoder is the encoder, transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.f, self.g, self.last = nn.Linear(6, 8), nn.Linear(6, 8), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        z = F.linear(torch.relu(self.f(x)), self.f.weight.t(), self.last.weight[0])
        return self.last(F.linear(torch.relu(self.g(z)), self.g.weight.T))


@torch.no_grad()
def test_a_weight_that_goes_in_transposed() -> None:
    torch.manual_seed(0)
    model = Transposed().eval()
    for p in (model.f.weight, model.f.bias, model.g.weight, model.g.bias):
        p[:3] = 0
    x = torch.randn(5, 6)
    small = compact(model, x)
    assert same(model(x), small(x))
    assert small.f.out_features == 5
    assert small.g.out_features == 5


class Auxiliary(nn.Module):
    """A head for training alone."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 3, 1)
        self.aux = nn.Sequential(nn.Conv2d(8, 6, 1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 3, 1))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        z = torch.relu(self.a(x))
        return {"y": self.b(z), "aux": self.aux(z)} if self.training else {"y": self.b(z)}


@torch.no_grad()
def test_layers_that_training_alone_runs_are_cut_along(tmp_path) -> None:
    model = Auxiliary().eval()
    model.b.weight[:, :3] = 0
    with pytest.warns(UserWarning, match=r"layers which training alone runs read \(aux\.0 3\); train before"):
        small = compact(model, X)
    assert small.a.out_channels == 5
    assert small.aux[0].weight.shape[:2] == (6, 5)
    assert small.train()(X)["aux"].shape == (2, 3, 4, 4)
    assert "training alone" in compaction(small).text()
    assert "aux.0" in compaction(small).text()
    assert load(Auxiliary(), save(small, tmp_path / "s.safetensors"))(X)["aux"].shape == (2, 3, 4, 4)


class Pieces(nn.Module):
    """Pieces whose sizes are read off the layers that take them."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.c, self.d = nn.Conv2d(3, 14, 1), nn.Conv2d(8, 3, 1), nn.Conv2d(6, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        one, two = torch.split(torch.relu(self.a(x)), [self.c.in_channels, self.d.in_channels], 1)
        return self.c(one) + self.d(two)


@torch.no_grad()
def test_pieces_whose_sizes_the_code_reads_are_cut() -> None:
    torch.manual_seed(0)
    model = Pieces().eval()
    model.c.weight[:, :3], model.d.weight[:, :2] = 0, 0
    small = compact(model, X)
    assert same(model(X), small(X))
    assert (small.a.out_channels, small.c.in_channels, small.d.in_channels) == (9, 5, 4)


class Scores(nn.Module):
    """Attention with one head; queries and keys are as long as one likes."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = (
            nn.Linear(4, 8),
            nn.Linear(4, 8),
            nn.Linear(4, 8),
            nn.Linear(8, 4),
        )

    def forward(self, x: Tensor) -> Tensor:
        scores = self.q(x) @ self.k(x).transpose(-1, -2)
        return self.out((scores / 3).softmax(-1) @ self.v(x))


@torch.no_grad()
def test_what_queries_or_keys_lack_goes_from_both() -> None:
    torch.manual_seed(0)
    model = Scores().eval()
    for layer, dead in ((model.q, slice(3)), (model.k, slice(2, 5))):
        layer.weight[dead], layer.bias[dead] = 0, 0
    x = torch.randn(2, 5, 4)
    small = compact(model, x)
    assert same(model(x), small(x))
    assert (small.q.out_features, small.k.out_features) == (3, 3)
