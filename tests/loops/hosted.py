"""What is trained in the loops of others, and compared with ``fit``."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from secateur import (
    AdaptiveWeighting,
    DiSparse,
    GradualMagnitude,
    GroupLasso,
    LearnedThreshold,
    OneShot,
    RigL,
    SoftThreshold,
    UncertaintyWeighting,
)
from secateur.pruning import Sparsifier
from secateur.weighting import Weighting

EPOCHS = 5
Make = Callable[[], Sparsifier]
METHODS: dict[str, Make] = {
    "soft_threshold": lambda: SoftThreshold(density=0.2),
    "gradual_magnitude": lambda: GradualMagnitude(0.2),
    "group_lasso": lambda: GroupLasso(density=0.3),
    "snip": lambda: OneShot(0.2, "snip", batches=2),
    "disparse": lambda: DiSparse(0.2, batches=3),
    "rigl": lambda: RigL(0.2),
}
LOSSES: dict[str, tuple[Make, Callable[[], Weighting]]] = {
    "adaptive": (METHODS["soft_threshold"], AdaptiveWeighting),
    "uncertainty": (METHODS["group_lasso"], UncertaintyWeighting),
    "penalty": (lambda: LearnedThreshold(0.2, pressure="l1_density", initial=-6.0), Weighting),
}
every_loss = pytest.mark.parametrize(("make", "weighting"), LOSSES.values(), ids=LOSSES.keys())


def exact(make: Make) -> bool:
    """Whether the density is kept weights: the lasso's is of groups, and what RigL grew last is zero until it is trained."""
    return not isinstance(make(), (GroupLasso, RigL))
