"""BatchNorm's statistics: which of them training moves, and how they are measured anew on the pruned network.

The latter after Li et al. 2020 (EagleEye, arXiv 2007.02491).
"""

from __future__ import annotations

from itertools import islice

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]

from secateur.problem import (
    Problem,
    check_count,
    preserved_modes,
    preserved_rng,
    to_device,
    undivided,
    undrawn,
)


def train_mode(model: nn.Module) -> None:
    """Puts a model in train mode; where it is already, modules in eval mode within it, such as frozen BatchNorm, stay so."""
    if not model.training:
        model.train()


@torch.no_grad()
def recalibrate(problem: Problem, batches: int) -> None:
    """Sets BatchNorm's running statistics to the plain mean over the first training batches; weights stay.

    What these batches do not reach keeps the statistics that it has, such as the BatchNorm of a task that has a loader of its own,
    and so does frozen BatchNorm, in eval mode within a model in train mode. If a pass raises, all do.

    Args:
        problem: Its model is changed in place; modes and random state are left as they were.
        batches: How many; fewer where the loader ends.

    Raises:
        ValueError: If ``batches`` is below 1.
    """
    check_batches(batches)
    model = problem.model
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    norms = [norm for norm in norms if norm.training or not model.training]
    if not norms:
        return
    device = next(p.device for p in model.parameters())
    momenta = {norm: norm.momentum for norm in norms}
    before = {norm: {n: b.clone() for n, b in norm.named_buffers(recurse=False)} for norm in norms}
    reached, loader = list[_BatchNorm](), problem.loader()
    try:
        with preserved_modes(model), preserved_rng(), undrawn(loader), undivided(loader):
            for module in model.modules():
                module.training = module in momenta
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum = None  # a cumulative average
            network = problem.network
            for x, _ in islice(problem.batches(), batches):
                network(to_device(x, device))
        reached = [norm for norm in norms if norm.num_batches_tracked]
    finally:
        for norm, momentum in momenta.items():
            norm.momentum = momentum
            for name, buffer in () if norm in reached else norm.named_buffers(recurse=False):
                buffer.copy_(before[norm][name])


def check_batches(batches: int | None) -> None:
    """Raises ValueError if ``batches`` is no count; before a training, after which it would come too late."""
    if batches is not None:
        check_count("recalibrate", batches, remedy="give at least 1 batch, or None for none")
