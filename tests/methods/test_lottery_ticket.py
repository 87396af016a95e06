"""Rounds: what is pruned when, and what is gone back to."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn import functional as F

from problems import two_heads, weights
from secateur import IterativeMagnitude, LotteryTicket, fit
from secateur.problem.components import prunable
from secateur.problem.problem import Problem
from secateur.pruning.pattern import Pattern
from secateur.pruning.schedules import geometric_density


def share(problem: Problem) -> float:
    weights = prunable(problem.model).values()
    return sum(int(p.count_nonzero()) for p in weights) / sum(p.numel() for p in weights)


class Seen(LotteryTicket):
    def after_round(self, number: int) -> None:
        before = weights(self.problem)
        super().after_round(number)
        self.__dict__.setdefault("rounds_seen", []).append((before, weights(self.problem)))


def test_survivors_go_back_to_where_they_began() -> None:
    problem, method = two_heads(), Seen(0.2)
    first = weights(problem)
    fit(problem, method, steps=15)
    (trained, rewound), (end, last) = method.rounds_seen
    for name, value in rewound.items():
        mask = method.masks.masks.get(name, torch.ones_like(value, dtype=torch.bool))
        assert torch.equal(value, first[name] * mask), name
    assert int(rewound["trunk.1.num_batches_tracked"]) == 0, "BatchNorm begins anew"
    assert all(torch.equal(end[n], last[n]) for n in end), "nothing is pruned after the last round"
    for name, p in prunable(problem.model).items():  # the largest of the trained weights are kept
        del p
        assert name in method.masks.masks
    flat = torch.cat([trained[n].abs().flatten() for n in method.masks.masks])
    mask = torch.cat([m.flatten() for m in method.masks.masks.values()])
    assert float(flat[mask].median()) > float(flat[~mask].max())
    assert share(problem) == pytest.approx(0.2, abs=0.0005)


def test_rewinding_goes_back_to_a_step() -> None:
    seen: dict[int, dict] = {}

    class Watch(Seen):
        def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
            super().after_step(step, optimizer)
            if self._round == 0:
                seen[step] = weights(self.problem)

    problem, method = two_heads(), Watch(0.2, rewind=0.2)
    fresh = weights(problem)
    fit(problem, method, steps=15)
    rewound = method.rounds_seen[0][1]
    for name, mask in method.masks.masks.items():
        assert torch.equal(rewound[name], seen[3][name] * mask)
    parameters = dict(problem.model.named_parameters())
    for name, value in rewound.items():  # what is not pruned goes back too, and BatchNorm begins anew
        if name not in method.masks.masks:
            assert torch.equal(value, seen[3][name] if name in parameters else fresh[name]), name
    assert not torch.equal(seen[3]["trunk.1.running_mean"], fresh["trunk.1.running_mean"])


@pytest.mark.parametrize("make", [LotteryTicket, IterativeMagnitude])
@pytest.mark.parametrize(("pattern", "density"), [("2:4", 0.5), ("2:4", 0.1), ("1x4", 0.25)])
def test_rounds_take_a_pattern(make: type, pattern: str, density: float) -> None:
    problem, shapes, shape = two_heads(), [], Pattern.parse(pattern)

    class Watch(make):
        def after_round(self, number: int) -> None:
            super().after_round(number)
            shapes.append({n: m.clone() for n, m in self.masks.masks.items()})

    fit(problem, Watch(density, rounds=4, pattern=pattern), steps=4)
    for masks in shapes:
        for mask in masks.values():
            if shape.of:
                groups = F.pad(mask.movedim(1, -1).float(), (0, -mask.shape[1] % 4)).unflatten(-1, (-1, 4))
                assert float(groups.sum(-1).max()) <= 2
            else:
                assert set(shape.pooled(mask.float()).unique().tolist()) <= {0.0, 1.0}
    for earlier, later in itertools.pairwise(shapes):
        assert all(not (later[n] & ~earlier[n]).any() for n in later)
    left = sum(int(mask.sum()) for mask in shapes[-1].values())
    size = sum(mask.numel() for mask in shapes[-1].values())
    assert abs(left - density * size) <= (0.5 if shape.of else 2.0)


def test_a_pattern_out_of_reach_is_refused_before_training() -> None:
    for make in (LotteryTicket, IterativeMagnitude):
        with pytest.raises(ValueError, match="this pattern it can be"):
            fit(two_heads(), make(0.8, pattern="2:4"), steps=2)


@pytest.mark.parametrize("make", [LotteryTicket, IterativeMagnitude])
def test_every_round_leaves_the_same_share(make: type) -> None:
    problem, shares = two_heads(), []

    class Watch(make):
        def after_round(self, number: int) -> None:
            super().after_round(number)
            shares.append(share(problem))

    method = Watch(0.1, rounds=4)
    fit(problem, method, steps=6)
    assert shares == pytest.approx([0.1 ** (1 / 3), 0.1 ** (2 / 3), 0.1, 0.1], abs=0.001)


def test_iterative_pruning_goes_on_from_the_present_weights() -> None:
    problem, before = two_heads(), {}

    class Watch(IterativeMagnitude):
        def after_round(self, number: int) -> None:
            if number == 0:
                before.update(weights(problem))
            super().after_round(number)
            if number == 0:
                after = weights(problem)
                assert all(
                    torch.equal(after[n], before[n] * self.masks.masks.get(n, torch.tensor(True)))
                    for n in after
                )

    fit(problem, Watch(0.2, rounds=2), steps=6)
    assert before


def test_what_is_pruned_never_comes_back() -> None:
    problem, masks = two_heads(), []

    class Watch(LotteryTicket):
        def after_round(self, number: int) -> None:
            super().after_round(number)
            masks.append({n: m.clone() for n, m in self.masks.masks.items()})

    fit(problem, Watch(0.1, rounds=4), steps=6)
    for earlier, later in itertools.pairwise(masks):
        assert all(not (later[n] & ~earlier[n]).any() for n in later)


def test_density_one_is_one_round() -> None:
    assert LotteryTicket(1.0, rounds=5).rounds == 1
    assert IterativeMagnitude(1.0).rounds == 1
    assert geometric_density(0.1, 2, 2) == 0.1


@pytest.mark.parametrize("make", [LotteryTicket, IterativeMagnitude])
@pytest.mark.parametrize("rounds", [0, 1])
def test_too_few_rounds(make: type, rounds: int) -> None:
    with pytest.raises(ValueError, match=f"rounds is {rounds}; at least 2"):
        make(0.1, rounds=rounds)


def test_rewind_is_a_share() -> None:
    with pytest.raises(ValueError, match=r"rewind is 1\.0"):
        LotteryTicket(0.1, rewind=1.0)
