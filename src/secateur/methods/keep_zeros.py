"""Fine-tuning under the zeros that a network has: a mask that does not move (Han et al. 2015, arXiv 1506.02626, section 3)."""

from __future__ import annotations

import torch

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
        kept = torch.stack([mask.sum() for mask in self.masks.masks.values()]).sum()
        self.density = float(kept) / sum(p.numel() for p in self.weights.values())
