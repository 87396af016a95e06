"""Groups: sums over them against a slow loop, what is left when they die, which are chosen."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from problems import two_heads
from secateur.problem.problem import Problem, Task
from secateur.pruning.groups import Groups, input_groups
from secateur.pruning.selection import share, survivors


def coupled() -> tuple[Groups, dict[str, Tensor]]:
    """Two layers in a row: the first's rows die with the second's columns; the input's channels never do."""
    weights = {
        "first": torch.randn(4, 3, 3, 3),
        "second": torch.randn(5, 4),
        "depthwise": torch.randn(4, 1, 3, 3),
    }
    axis = {"first": 1, "second": 1, "depthwise": 0}
    index = {
        "first": torch.full((3,), -1),
        "second": torch.tensor([0, 1, 2, 2]),
        "depthwise": torch.tensor([0, 1, 2, 2]),
    }
    return Groups(3, axis, index, {"first": torch.tensor([0, 1, 2, 2])}), weights


def test_norms_and_sizes() -> None:
    groups, weights = coupled()
    assert groups.sizes(weights).tolist() == [5 + 9, 5 + 9, 10 + 18]
    for k, columns in enumerate(([0], [1], [2, 3])):
        own = torch.cat([weights["second"][:, columns].flatten(), weights["depthwise"][columns].flatten()])
        torch.testing.assert_close(groups.norms(weights)[k], own.norm())


def test_sums_along_every_axis() -> None:
    value = torch.randn(4, 3, 2, 5)
    for axis in range(4):
        groups = Groups(value.shape[axis], {"w": axis}, {"w": torch.arange(value.shape[axis])}, {})
        torch.testing.assert_close(groups.along("w", value), value.sum([d for d in range(4) if d != axis]))


def test_kept_fraction_cuts_columns_and_rows() -> None:
    groups, weights = coupled()
    alive = torch.tensor([True, False, True])
    assert groups.kept_fraction(alive) == pytest.approx({"first": 0.75, "second": 0.75, "depthwise": 0.75})
    masks = groups.masks(alive, weights)
    assert {n: float(m.double().mean()) for n, m in masks.items()} == pytest.approx(
        groups.kept_fraction(alive)
    )
    assert not masks["first"][1].any()
    assert not masks["second"][:, 1].any()
    both = Groups(4, {"w": 1}, {"w": torch.tensor([0, 1])}, {"w": torch.tensor([2, 3])})
    alive = torch.tensor([True, False, False, True])
    assert both.kept_fraction(alive) == {"w": 0.25}
    assert both.masks(alive, {"w": torch.ones(2, 2)})["w"].tolist() == [[False, False], [True, False]]
    same = Groups(4, {"w": 0}, {"w": torch.tensor([0, 1])}, {"w": torch.tensor([2, 3])})
    assert same.kept_fraction(alive) == {"w": 0.0}


def test_bad_groups() -> None:
    with pytest.raises(ValueError, match=r"'w' has groups 0 to 2; they must lie in \[-1, 1\]"):
        Groups(2, {"w": 1}, {"w": torch.tensor([0, 2])}, {})
    with pytest.raises(ValueError, match="must name the same weights"):
        Groups(2, {"w": 1}, {"v": torch.tensor([0, 1])}, {})
    with pytest.raises(ValueError, match="must name the same weights"):
        Groups(2, {"w": 1}, {"w": torch.tensor([0, 1])}, {"v": torch.tensor([0, 1])})


def test_input_groups_are_those_of_the_shared_convolutions() -> None:
    groups = input_groups(two_heads())
    assert groups.axis == {"trunk.0.weight": 1, "trunk.4.weight": 1}
    assert groups.count == 3 + 16
    assert torch.equal(torch.cat(list(groups.index.values())), torch.arange(19))
    assert groups.rows == {}
    named = input_groups(two_heads(), ["shade.0.weight"])
    assert (named.axis, named.count) == ({"shade.0.weight": 1}, 16)
    with pytest.raises(ValueError, match=r"names has \['trunk.1.weight'\].*choose from \['colour.weight'"):
        input_groups(two_heads(), ["trunk.1.weight"])


def test_which_axis_the_inputs_are() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = nn.ConvTranspose2d(3, 6, 2)
            self.split = nn.Conv2d(6, 6, 3, groups=2)
            self.out = nn.Conv2d(6, 1, 1)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            shared = self.split(self.up(x))
            return {"a": self.out(shared), "b": shared}

    data = [(torch.zeros(1, 3, 8, 8), {"a": torch.zeros(1), "b": torch.zeros(1)})]
    problem = Problem(Net(), {"a": Task(F.l1_loss), "b": Task(F.l1_loss)}, data)
    groups = input_groups(problem)
    assert groups.axis == {"up.weight": 0}
    assert groups.count == 3


def test_one_task_shares_nothing() -> None:
    problem = two_heads()
    model = nn.Sequential(nn.Conv2d(3, 4, 1))
    model.forward = lambda x: {"colour": model[0](x)}  # type: ignore[method-assign]
    data = [(x, {"colour": t["colour"]}) for x, t in problem.train]
    alone = Problem(model, {"colour": problem.tasks["colour"]}, data)
    with pytest.raises(ValueError, match="no convolution that several tasks share; nothing can be pruned"):
        input_groups(alone)
    assert input_groups(alone, ["0.weight"]).count == 3


def test_survivors_are_the_fewest_that_overshoot_least() -> None:
    groups = input_groups(two_heads())
    weights = {n: p.detach() for n, p in two_heads().model.named_parameters() if n in groups.axis}
    costs = {n: float(w.numel()) for n, w in weights.items()}

    def measure(alive: Tensor) -> float:
        return share(groups.kept_fraction(alive), costs)

    scores = torch.rand(groups.count)
    for density in (0.9, 0.5, 0.3, 0.12):
        alive = survivors(groups, scores, measure, density)
        assert measure(alive) <= density
        dead = (~alive).nonzero().flatten()
        alive[dead[scores[dead].argmax()]] = True  # one group back is too many
        assert measure(alive) > density
        assert scores[dead].max() <= scores[alive].max()


def test_every_weight_keeps_an_input_and_a_row() -> None:
    groups, _ = coupled()
    scores = torch.tensor([1.0, 3.0, 2.0])
    assert groups.strongest(scores).tolist() == [False, True, False]

    def measure(alive: Tensor) -> float:
        return float(alive.double().mean())

    assert survivors(groups, scores, measure, 0.34).tolist() == [False, True, False]
    with pytest.raises(ValueError, match=r"density is 0\.2, but the groups reach no less than 0\.3333"):
        survivors(groups, scores, measure, 0.2)
    forever = torch.tensor([torch.inf, 3.0, 2.0])
    with pytest.raises(ValueError, match=r"no less than 0\.3333"):
        survivors(groups, forever, measure, 0.2)


def test_a_group_too_large_for_the_share_lives_where_others_can_die() -> None:
    """The weakest of eight has 3 of 10 parts; by score alone 0.7 of the network would end at 0.5."""
    sizes = torch.tensor([1.0, 3.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], dtype=torch.float64) / 10
    index = {"a.weight": torch.arange(8)}
    groups = Groups(8, {"a.weight": 1}, index, {})
    scores = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])

    def measure(alive: Tensor) -> float:
        return float(sizes[alive].sum())

    assert survivors(groups, scores, measure, 0.8).tolist() == [False, False] + [True] * 6  # 0.6
    assert survivors(groups, scores, measure, 0.8, floor=0.72).tolist() == [False, True, False] + [True] * 5
    dead = scores.clone()
    dead[1] = 0.0  # cut already: no other dies in its place
    assert survivors(groups, dead, measure, 0.75, floor=0.72).tolist() == [True, False] + [True] * 6
    large = torch.tensor([8.0, 0.5, 0.5, 0.2, 0.2, 0.2, 0.2, 0.2], dtype=torch.float64) / 10
    scores[0], scores[3] = 0.9, 0.05
    assert survivors(groups, scores, lambda alive: float(large[alive].sum()), 0.85, floor=0.84)[0]
