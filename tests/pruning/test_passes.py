"""Passes that scores are taken by: the modes of training, and no trace of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from problems import TwoHeads, batches, equal, tasks, two_heads, weights
from secateur import LotteryTicket, OneShot, Problem, fit
from secateur.problem import prunable
from secateur.pruning.scores import gradients, task_gradients


class Gridded(TwoHeads):
    """It makes itself a grid of positions of the size of its input, at the first batch and where the size has changed."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        if getattr(self, "grid", torch.empty(0)).shape != x.shape[2:]:
            self.register_buffer(
                "grid", torch.linspace(0, 1, x[0, 0].numel()).view(x.shape[2:]), persistent=False
            )
        return super().forward(x + self.grid)


def gridded() -> Problem:
    torch.manual_seed(0)
    data = batches()
    sizes = [(x[..., :side, :side], {t: y[..., :side, :side] for t, y in own.items()}) for (x, own), side in zip(data, (8, 6, 8, 6, 8, 6), strict=True)]  # fmt: skip
    return Problem(Gridded(), tasks(), sizes)


def test_frozen_batchnorm_is_frozen_in_scores_too() -> None:
    problem = two_heads()
    found = []
    for frozen in (True, False):
        problem.model.train().trunk[1].train(not frozen)
        found.append(gradients(problem, dict(problem.model.named_parameters())))
    norm = problem.model.trunk[1]
    own = problem.model.train()
    norm.eval()
    own.trunk[3].eval()  # dropout
    x, targets = problem.train[0]
    predictions = own(x)
    loss = sum(problem.tasks[t].loss(predictions[t], targets[t]) for t in targets)
    (wanted,) = torch.autograd.grad(loss, [own.trunk[4].weight])
    torch.testing.assert_close(found[0]["trunk.4.weight"], wanted)
    assert not torch.allclose(found[1]["trunk.4.weight"], wanted)


def test_of_a_model_in_eval_mode_they_are_those_of_training() -> None:
    ready, still = two_heads(), two_heads()
    still.model.eval()
    found = [gradients(own, dict(own.model.named_parameters())) for own in (ready, still)]
    assert equal(*found)
    assert not any(module.training for module in still.model.modules())


class Lazy(TwoHeads):
    """Its grid is registered as None, and one flag says that it is there."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("grid", None)
        self.ready = False

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        if not self.ready:
            self.grid, self.ready = torch.zeros(x.shape[2:]), True
        return super().forward(x + self.grid)


def test_buffers_that_come_in_a_pass_serve_and_the_others_are_put_back() -> None:
    problem = gridded()
    before = weights(problem)
    gradients(problem, dict(problem.model.named_parameters()), batches=3)
    assert equal(before, weights(problem))
    lazy = Problem(Lazy(), tasks(), batches())
    gradients(lazy, dict(lazy.model.named_parameters()))
    fit(lazy, OneShot(0.5, at=0.3), steps=4)


@pytest.mark.parametrize("method", [OneShot(0.5, at=0.3), LotteryTicket(0.5)], ids=["scored", "rewound"])
def test_such_a_network_is_trained_and_pruned(method: OneShot | LotteryTicket) -> None:
    problem = gridded()
    fit(problem, method, steps=10)
    kept = [p for m in problem.model.modules() if isinstance(m, nn.Conv2d) for p in [m.weight]]
    assert sum(int(p.count_nonzero()) for p in kept) == sum(p.numel() for p in kept) // 2


def odd(at: int, loss: Callable[[Tensor, Tensor], Tensor]) -> Problem:
    """Of batch ``at`` the shade is an odd one: its targets are infinite, which ``loss`` makes something of."""
    made = two_heads()
    data = [
        (x, {**y, "shade": y["shade"] * torch.inf} if k == at else y) for k, (x, y) in enumerate(made.train)
    ]
    return replace(made, tasks={**made.tasks, "shade": replace(made.tasks["shade"], loss=loss)}, train=data)


def steep(prediction: Tensor, target: Tensor) -> Tensor:
    """Finite, with an infinite gradient, where a target is."""
    return torch.where(target.isfinite(), (prediction - target).abs(), (prediction * 0).sqrt()).mean()


def test_a_loss_that_is_not_finite_has_no_part_in_scores() -> None:
    problem, without = odd(0, l1_loss), two_heads()
    without.train[0][1].pop("shade")
    weights, others = (prunable(p.model) for p in (problem, without))
    for score in (gradients, task_gradients):
        found, other = score(problem, weights, 2), score(without, others, 2)
        assert torch.equal(torch.cat(flat(found)), torch.cat(flat(other)))
        assert all(g.isfinite().all() for g in flat(found))


def flat(found: Any) -> list[Tensor]:
    return [g.flatten() if isinstance(g, Tensor) else torch.cat(flat(g)) for g in found.values()]


def test_a_gradient_that_is_not_finite_ranks_nothing() -> None:
    problem = odd(0, steep)
    weights = prunable(problem.model)
    with pytest.raises(
        ValueError, match=r"gradient of the loss by .* is NaN or infinite in the first 1 training batches"
    ):
        gradients(problem, weights)
    with pytest.raises(ValueError, match=r"gradient of task 'shade' by .* is NaN or infinite"):
        task_gradients(problem, weights)
    found = task_gradients(problem, weights, strict=False)
    assert all(g.isfinite().all() for g in flat(found))
    assert found["colour"]["trunk.4.weight"].any()
    assert not found["shade"]["trunk.4.weight"].any()


def test_frozen_weights_are_scored_and_stay_frozen() -> None:
    problem = two_heads()
    weights = prunable(problem.model)
    expected = flat(gradients(problem, weights))
    problem.model.colour.requires_grad_(False)
    assert all(map(torch.equal, flat(gradients(problem, weights)), expected))
    assert not problem.model.colour.weight.requires_grad
