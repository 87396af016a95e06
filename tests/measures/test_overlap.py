"""Where the tasks agree, on networks where the answer is known."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from problems import two_heads, weights
from secateur import overlap
from secateur.problem import prunable
from secateur.problem.problem import Problem, Task


class Halves(nn.Module):
    """A trunk of eight channels; ``a`` reads the first six, ``b`` the last six, so that four serve both."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Linear(4, 8, bias=False)
        self.a, self.b = nn.Linear(8, 1, bias=False), nn.Linear(8, 1, bias=False)
        with torch.no_grad():
            self.trunk.weight.fill_(1.0)
            self.a.weight.copy_(torch.tensor([[1.0] * 6 + [0.0] * 2]))
            self.b.weight.copy_(torch.tensor([[0.0] * 2 + [1.0] * 6]))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = self.trunk(x)
        return {"a": self.a(features), "b": self.b(features)}


def halves() -> Problem:
    x = torch.ones(3, 4)
    data = [(x, {"a": torch.zeros(3, 1), "b": torch.zeros(3, 1)})]
    return Problem(Halves(), {"a": Task(F.mse_loss), "b": Task(F.mse_loss)}, data)


def test_planted_halves_are_found() -> None:
    # of a's 40 weights its head scores highest (6 that are not zero), then 24 of the trunk, all alike
    found = overlap(halves(), density=30 / 40)
    layer = found.layers["trunk.weight"]
    assert layer.weights == 32
    assert layer.wanted == {"a": 24 / 32, "b": 24 / 32}
    assert layer.needed_by == {("a",): 8, ("b",): 8, ("a", "b"): 16}
    assert layer.overlap == {("a", "b"): 16 / 32}
    assert found.total == layer
    assert found.chance == pytest.approx(0.75**2 / (2 * 0.75 - 0.75**2))


def test_tasks_that_are_the_same_agree() -> None:
    problem = two_heads()

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk, self.one, self.two = (
                nn.Conv2d(3, 8, 3, padding=1),
                nn.Conv2d(8, 1, 1),
                nn.Conv2d(8, 1, 1),
            )
            self.two.load_state_dict(self.one.state_dict())

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            features = torch.relu(self.trunk(x))
            return {"one": self.one(features), "two": self.two(features)}

    data = [(x, {"one": t["shade"], "two": t["shade"]}) for x, t in problem.train]
    found = overlap(Problem(Twice(), {"one": Task(F.l1_loss), "two": Task(F.l1_loss)}, data), 0.2)
    assert found.total.overlap == {("one", "two"): 1.0}
    assert ("one",) not in found.total.needed_by


def test_it_leaves_the_model_alone_and_can_be_written() -> None:
    problem = two_heads()
    before, state = weights(problem), torch.get_rng_state()
    found = overlap(problem, 0.1)
    assert all(torch.equal(v, before[n]) for n, v in weights(problem).items())
    assert torch.equal(state, torch.get_rng_state())
    assert set(found.layers) == {"trunk.0.weight", "trunk.4.weight"}
    assert sum(found.total.needed_by.values()) == sum(layer.weights for layer in found.layers.values())
    written = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert written["total"]["overlap"].keys() == {"colour+shade"}


def test_layers_that_some_tasks_share_count_for_those() -> None:
    class Three(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk, self.pair = nn.Linear(4, 6), nn.Linear(6, 6)
            self.a, self.b, self.c = (nn.Linear(6, 1) for _ in range(3))

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            first = torch.relu(self.trunk(x))
            second = torch.relu(self.pair(first))
            return {"a": self.a(second), "b": self.b(second), "c": self.c(first)}

    torch.manual_seed(0)
    data = [(torch.randn(8, 4), {t: torch.randn(8, 1) for t in "abc"})]
    found = overlap(Problem(Three(), {t: Task(F.mse_loss) for t in "abc"}, data), 0.5)
    assert found.layers["pair.weight"].wanted.keys() == {"a", "b"}
    assert sum(found.total.needed_by.values()) == 24 + 36
    pair = found.total.overlap["a", "b"]
    assert 0 <= pair <= 1
    assert not math.isnan(pair)


def test_unusable() -> None:
    with pytest.raises(ValueError, match="every task would keep everything"):
        overlap(two_heads(), 1.0)
    problem = two_heads()
    problem.__dict__["owners"] = {name: frozenset({"colour"}) for name in problem.owners}
    with pytest.raises(ValueError, match="nothing to agree on"):
        overlap(problem, 0.1)


def test_a_task_that_predicts_nothing_any_more_is_told_from_one_that_has_not_begun() -> None:
    problem = two_heads()
    with torch.no_grad():
        problem.model.colour.weight.zero_()
    with pytest.raises(ValueError, match=r"overlap: no weight is worth anything to task.*still predict"):
        overlap(problem, 0.5)


def test_weights_that_are_worth_nothing_are_kept_by_nobody() -> None:
    """They would be kept in the order of their places, by every task alike, and count as agreement."""
    problem = two_heads()
    torch.manual_seed(0)
    shared = {name: p for name, p in prunable(problem.model).items() if len(problem.owners[name]) > 1}
    with torch.no_grad():
        for weight in shared.values():
            weight *= torch.rand_like(weight) > 0.9
    with pytest.warns(UserWarning, match=r"overlap: fewer weights are worth anything than density 0\.5 asks"):
        found = overlap(problem, 0.5)
    for name, layer in found.layers.items():
        kept = sum(count for tasks, count in layer.needed_by.items() if tasks)
        assert 0 < kept <= int(shared[name].count_nonzero())
