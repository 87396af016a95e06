"""Looks at a model leave it as it was: modes, random state, and the buffers that its forward pass writes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, l1_loss

from secateur.budget import Budget, prune
from secateur.measures import cost, count_macs, evaluate
from secateur.problem import Problem, Task, components, looking
from secateur.shrinking import problem_groups


class Remembering(nn.Module):
    """Its trunk is centred by a running mean that every pass moves, in eval mode too."""

    mean: Tensor
    late: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.seg, self.depth = nn.Conv2d(8, 4, 1), nn.Conv2d(8, 1, 1)
        self.register_buffer("mean", torch.zeros(8))
        self.register_buffer("late", torch.ones(2).expand(4, 2))  # cannot be written

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        z = self.trunk(x)
        self.mean = 0.9 * self.mean + 0.1 * z.detach().mean((0, 2, 3))
        z = z - self.mean[:, None, None]
        return {"seg": self.seg(z), "depth": self.depth(z)}


def problem() -> Problem:
    torch.manual_seed(0)
    batches = [
        (torch.randn(2, 3, 8, 8), {"seg": torch.randint(4, (2, 8, 8)), "depth": torch.randn(2, 1, 8, 8)})
        for _ in range(3)
    ]
    return Problem(Remembering(), {"seg": Task(cross_entropy), "depth": Task(l1_loss)}, batches, batches)


LOOKS: dict[str, Callable[[Problem], object]] = {
    "owners": lambda p: p.owners,
    "macs": lambda p: count_macs(p.model, p.train[0][0]),
    "cost": lambda p: cost(p.model, p.train[0][0], components(p)),
    "evaluate": lambda p: evaluate(p, "val"),
    "groups": problem_groups,
    "kinds": lambda p: components(p, "kind"),
    "prune": lambda p: prune(p, Budget(macs=0.8), steps=0, rounds=1, batches=2, repair=2, progress=False),
}


@pytest.mark.parametrize("look", LOOKS)
def test_a_look_leaves_what_the_forward_pass_writes(look: str) -> None:
    seen = problem()
    before = {name: value.clone() for name, value in seen.model.state_dict().items()}
    LOOKS[look](seen)
    after = seen.model.state_dict()
    assert [name for name, value in before.items() if not torch.equal(value, after[name])] == []


def test_a_buffer_of_another_size_serves_on() -> None:
    model = Remembering()
    with looking(model):
        model.mean = torch.ones(3)
        model.trunk.eval()
    assert model.mean.tolist() == [1.0, 1.0, 1.0]
    assert model.trunk.training


@pytest.mark.parametrize(
    "make",
    [
        lambda m: m.to("meta"),
        lambda m: m.register_buffer("graph", torch.eye(3).to_sparse()),
        lambda m: m.half(),
    ],
)
def test_buffers_of_other_kinds_are_taken(make: Callable[[nn.Module], object]) -> None:
    model = Remembering()
    make(model)
    with looking(model):
        model.mean = model.mean.double()  # another kind now
