"""Owners where the graph alone would not tell, and layers that nobody would train."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from problems import TwoHeads, equal, tasks, two_heads
from secateur import DiSparse, GroupLasso, Problem, SoftThreshold, components, density, fit


class Checkpointed(TwoHeads):
    """The trunk's activations are computed again in the backward pass."""

    reentrant = True

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = torch.relu(checkpoint(self.trunk, x.requires_grad_(), use_reentrant=self.reentrant))
        return {"colour": self.colour(features), "shade": self.shade(features)}


def checkpointed(reentrant: bool) -> Problem:
    problem = two_heads()
    torch.manual_seed(0)
    model = Checkpointed()
    model.reentrant = reentrant
    return Problem(model, problem.tasks, problem.train)


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoints_hide_nothing(reentrant: bool) -> None:
    problem = checkpointed(reentrant)
    gradients = [p.grad for p in problem.model.parameters()]
    assert problem.owners == two_heads().owners
    assert [p.grad for p in problem.model.parameters()] == gradients


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize(
    "make", [lambda: SoftThreshold(0.2), lambda: GroupLasso(density=0.6)], ids=["soft", "lasso"]
)
def test_checkpointed_trunks_are_pruned_alike(make, reentrant: bool) -> None:
    plain, problem = two_heads(), checkpointed(reentrant)
    for own in (plain, problem):
        fit(own, make(), steps=20)
    one, two = (
        dict(own.model.named_parameters()) for own in (plain, problem)
    )  # BatchNorm counts a batch twice
    assert equal(one, two)
    assert density(problem.model, components(problem)).overall < 0.65


@pytest.mark.parametrize("kind", [dict, list])
def test_layers_in_a_plain_container_are_named(kind: type) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = nn.Conv2d(3, 8, 3, padding=1)
            heads = {"colour": nn.Conv2d(8, 5, 1), "shade": nn.Conv2d(8, 1, 1)}
            self.heads = heads if kind is dict else list(heads.values())

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            colour, shade = self.heads.values() if isinstance(self.heads, dict) else self.heads
            return {"colour": colour(self.trunk(x)), "shade": shade(self.trunk(x))}

    problem = Problem(Net(), tasks(), two_heads().train)
    with pytest.raises(
        ValueError, match=r"'colour' depends on a parameter .* \(self\.heads\); use nn\.ModuleDict"
    ):
        fit(problem, SoftThreshold(0.2), steps=2)


def test_what_is_frozen_has_the_owners_that_it_will_have() -> None:
    problem = two_heads()
    problem.model.requires_grad_(False)
    assert dict(problem.owners) == dict(two_heads().owners)
    assert not any(p.requires_grad for p in problem.model.parameters())


def test_a_trunk_that_was_frozen_in_an_earlier_training_is_pruned_as_any() -> None:
    problem = two_heads()
    problem.model.trunk.requires_grad_(False)
    fit(problem, steps=2)
    problem.model.trunk.requires_grad_(True)
    fit(problem, DiSparse(0.1), steps=2)
    kept = density(problem.model, components(problem)).components
    assert set(kept) == {"backbone", "colour", "shade"}
    assert kept["backbone"] > 0.05


def test_a_loader_without_a_batch_is_said_to_be_so() -> None:
    problem = Problem(TwoHeads(), tasks(), [])
    with pytest.raises(ValueError, match="loader gave no batch"):
        _ = problem.owners
