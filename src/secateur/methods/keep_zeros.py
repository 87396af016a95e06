"""Fine-tuning under the zeros that a network has: a mask that does not move (Han et al. 2015, arXiv 1506.02626, section 3)."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import Optimizer

from secateur.problem import Problem
from secateur.pruning import Masked, Masks


class KeepZeros(Masked):
    """Trains what is left of a pruned network; every prunable weight that is exactly zero at the start stays zero.

    This is how a network is trained on after ``fit`` with any method, or after ``load``. A network without zeros is trained
    densely. ``density`` is what the network has, once training has started.
    """

    def __init__(self) -> None:
        super().__init__(1.0)

    def start(self, problem: Problem, steps: int) -> None:
        """Takes the mask from the weights."""
        super().start(problem, steps)
        self.masks = Masks(self.weights, {name: p.detach() != 0 for name, p in self.weights.items()})
        self._count()

    def bind(self, optimizer: Optimizer) -> None:
        """Enforces the masks around every step, also where there are no zeros yet: a checkpoint may bring them."""
        self.masks.bind(optimizer)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up the masks, which are those of the network that training began with."""
        super().load_state_dict(state)
        self._count()

    def _count(self) -> None:
        kept = torch.stack([mask.sum() for mask in self.masks.masks.values()]).sum()
        self.density = float(kept) / sum(p.numel() for p in self.weights.values())
