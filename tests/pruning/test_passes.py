"""Passes that scores are taken by: the modes of training, and no trace of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from problems import TwoHeads, batches, equal, tasks, two_heads, weights
from secateur import LotteryTicket, OneShot, Problem, fit
from secateur.pruning.scores import gradients


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
