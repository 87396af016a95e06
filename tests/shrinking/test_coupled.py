"""What coupled groups promise before training is what compact removes after it."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from problems import TwoHeads, two_heads
from secateur import GroupLasso, Problem, Task, compact, fit
from secateur.pruning import DensityError
from secateur.pruning.selection import share
from secateur.shrinking import coupled_groups, problem_groups
from secateur.zoo import mobilenetv2_aspp

X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Block(nn.Module):
    """One convolution after another, with something of the user's between them."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 16, 1), nn.Conv2d(16, 16, 1), nn.Conv2d(16, 20, 1)
        self.last = nn.Conv2d(20, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        z = self.between(torch.relu(self.b(torch.relu(self.a(x)))))
        return self.last(torch.relu(self.c(z)))

    def between(self, z: Tensor) -> Tensor:
        return z


class Size(Block):
    def between(self, z: Tensor) -> Tensor:
        return z.reshape(-1, 16, 8, 8)


class Part(Block):
    def between(self, z: Tensor) -> Tensor:
        return torch.cat([z[:, :6].tanh(), z[:, 6:]], 1)


class Table(Block):
    def between(self, z: Tensor) -> Tensor:
        return z * torch.linspace(1, 2, 16)[:, None, None]


class Flat(Block):
    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(20 * 4, 2)

    def forward(self, x: Tensor) -> Tensor:
        z = F.avg_pool2d(self.c(torch.relu(self.b(torch.relu(self.a(x))))), 4)
        z = z.view(-1, 20 * 4)
        return self.last(z)


class Transposed(Block):
    def __init__(self) -> None:
        super().__init__()
        self.b = nn.ConvTranspose2d(16, 16, 2, 2)


class Zero(Block):
    """A branch that gives nothing before training, with a size written out in it."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.inner = nn.BatchNorm2d(16), nn.Conv2d(16, 16, 1)
        nn.init.zeros_(self.norm.weight)

    def between(self, z: Tensor) -> Tensor:
        y = torch.relu(self.inner(z))
        y = y.reshape(-1, 16, 8, 8)
        return z + self.norm(y)


class Frozen(Block):
    def __init__(self) -> None:
        super().__init__()
        self.c.requires_grad_(False)


class Seen(Block):
    """Channels are looked at by something else than weights."""

    def between(self, z: Tensor) -> Tensor:
        return z / (1 + z.exp().sum(1, keepdim=True))


def problem_of(model: nn.Module, x: Tensor) -> Problem:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = model

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            found = self.net(x)
            return found if isinstance(found, dict) else {"task": found}

    made = Named()
    with torch.no_grad():
        targets = {name: torch.randn_like(value) for name, value in made.eval()(x).items()}
    return Problem(made, {name: Task(F.mse_loss) for name in targets}, [(x, targets)])


def left(problem: Problem, density: float) -> tuple[float, float, float]:
    """Share of the grouped weights after compact, share that training says, and the most that one dead group is worth."""
    before = {name: p.numel() for name, p in problem.model.named_parameters()}
    method = GroupLasso(density=density, groups="coupled", metric="euclidean")
    fit(problem, method, steps=4)
    groups = method._plan
    weights = {name: p.detach() for name, p in problem.model.named_parameters() if name in groups.axis}
    costs = {name: float(before[name]) for name in groups.axis}
    alive = groups.norms(weights) > 0
    said = share(groups.kept_fraction(alive), costs)
    more = [alive.clone().index_fill_(0, torch.tensor([i]), True) for i in (~alive).nonzero().flatten()[:60]]
    most = max(share(groups.kept_fraction(one), costs) for one in more) - said
    small = dict(compact(problem.model.eval(), problem.train[0][0]).named_parameters())
    return sum(small[n].numel() for n in groups.axis if n in small) / sum(costs.values()), said, most


@pytest.mark.parametrize("kind", [Block, Size, Part, Table, Flat, Transposed, Zero, Seen])
@pytest.mark.parametrize("density", [pytest.param(0.7, marks=pytest.mark.slow), 0.5])
def test_what_is_asked_is_what_compact_leaves(kind: type[Block], density: float) -> None:
    torch.manual_seed(0)
    found, said, most = left(problem_of(kind(), X), density)
    assert found == pytest.approx(said)
    assert density - most - 1e-9 < found <= density + 1e-9


@pytest.mark.slow
def test_on_a_network_of_the_zoo() -> None:
    torch.manual_seed(0)
    made = mobilenetv2_aspp({"seg": 3, "depth": 1}, width=0.125)
    found, said, _ = left(problem_of(made, torch.randn(2, 3, 32, 32)), 0.5)
    assert found == pytest.approx(said)
    assert found <= 0.5


@pytest.mark.parametrize(
    ("kind", "line"), [(Size, "between"), (Flat, "view"), (Table, "between"), (Zero, "between")]
)
def test_a_density_out_of_reach_names_the_line_before_training(kind: type[Block], line: str) -> None:
    torch.manual_seed(0)
    problem = problem_of(kind(), X)
    before = copy.deepcopy(problem.model.state_dict())
    with pytest.raises(DensityError, match=rf"density is 0\.05.*stay: .*test_coupled\.py:\d+: .*{line}"):
        fit(problem, GroupLasso(density=0.05, groups="coupled"), steps=4)
    assert all(torch.equal(before[name], value) for name, value in problem.model.state_dict().items())


class Extra(TwoHeads):
    """Returns what no task is for, as for a loss of its own."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {**super().forward(x), "features": self.trunk(x)}


def test_outputs_of_no_task_that_keep_channels_are_named_with_the_remedy() -> None:
    problem = replace(two_heads(), model=Extra())
    said = r"22 stay: an output of the network; among them 'features', no task, which the forward pass need not return, or Problem\(..., call=f\) leaves out"
    with pytest.raises(DensityError, match=said) as raised:
        fit(problem, GroupLasso(density=0.05, groups="coupled"), steps=2, progress=False)
    words = str(raised.value)
    space: dict[str, Any] = {}
    exec(
        words[words.index("def f(") : words.index("}") + 1]
        .replace(": y =", ":\n  y =")
        .replace("; ", "\n  "),
        space,
    )
    assert problem_groups(replace(problem, call=space["f"])).count > problem_groups(problem).count


def test_what_a_frozen_layer_reads_is_in_no_group() -> None:
    groups = coupled_groups(Frozen(), X)
    assert "c.weight" not in groups.axis
    assert bool((groups.rows["b.weight"] < 0).all())
    assert bool((groups.index["b.weight"] >= 0).all())


def test_no_group_at_all_names_the_line() -> None:
    class Only(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 16, 1), nn.Conv2d(16, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            z = self.a(x)
            z = z.reshape(-1, 16, 8, 8)
            return self.b(z)

    with pytest.raises(
        ValueError, match=r"no channel that can be removed: .*test_coupled\.py:\d+: .*reshape"
    ):
        coupled_groups(Only(), X)


def test_it_is_the_same_twice_and_leaves_the_model_and_random_state() -> None:
    model = two_heads().model
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    first, second = coupled_groups(model, X), coupled_groups(model, X)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(torch.equal(first.index[name], second.index[name]) for name in first.axis)


class Pieces(nn.Module):
    """Pieces whose sizes are read off the layers that take them."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.c, self.d = nn.Conv2d(3, 14, 1), nn.Conv2d(8, 3, 1), nn.Conv2d(6, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        one, two = torch.split(torch.relu(self.a(x)), self.sizes(), 1)
        return self.c(one) + self.d(two)

    def sizes(self) -> list[int]:
        return [self.c.in_channels, self.d.in_channels]


class Lengths(Pieces):
    """Pieces whose sizes are written out."""

    def sizes(self) -> list[int]:
        return [8, 6]


@pytest.mark.parametrize(("kind", "promised"), [(Pieces, True), (Lengths, False)])
def test_pieces_are_promised_where_their_sizes_are_read(kind: type[Pieces], promised: bool) -> None:
    groups = coupled_groups(nn.Sequential(kind(), nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)), X)
    assert bool((groups.index["0.c.weight"] >= 0).all()) == promised
    assert bool((groups.index["2.weight"] >= 0).all())
