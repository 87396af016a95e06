"""What processes that train one network together must have in common."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.utils.data import DistributedSampler

from secateur.problem.samplers import distributed_samplers


def world_size() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def several() -> bool:
    """Whether several processes train together."""
    return world_size() > 1


def averaged(value: Tensor) -> Tensor:
    """``value``, averaged over the processes where there are several, so that all weigh alike; every process must ask.

    What is the same in all of them stays so to the last bit, as scores of the same data must.
    """
    if not several():
        return value
    exact = value.device.type != "mps"  # Apple's GPU has no float64
    mean = value.to(torch.float64 if exact else value.dtype) / distributed.get_world_size()
    distributed.all_reduce(mean)
    return mean.to(value.dtype)


def any_process(said: bool, device: torch.device) -> bool:
    """Whether any process says so; every process must ask, and all hear the same."""
    if not several():
        return said
    found = torch.tensor(float(said), device=device)
    distributed.all_reduce(found, distributed.ReduceOp.MAX)
    return bool(found)


@torch.no_grad()
def average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Averages gradients over the processes, all in one message; where one has none it counts as zero, where all have none it stays so."""
    if not parameters or not several():
        return
    held = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    there = held[0].new_tensor([p.grad is not None for p in parameters])
    sent = torch.cat([*(g.flatten() for g in held), there])
    *found, present = averaged(sent).split([*(p.numel() for p in parameters), len(parameters)])
    for parameter, gradient, any_has in zip(parameters, found, present.tolist(), strict=True):
        if any_has:
            parameter.grad = gradient.view_as(parameter).to(parameter.dtype)


@torch.no_grad()
def same_buffers(model: nn.Module) -> None:
    """Every process takes the first one's buffers, such as BatchNorm's statistics, as it does at each forward pass of DDP."""
    for buffer in model.buffers() if several() else ():
        distributed.broadcast(buffer, 0)


@contextmanager
def undivided(loader: Any) -> Generator[None]:
    """Inside, a loader that a ``DistributedSampler`` splits over processes gives every process what a single one would get."""
    names, kept = ("num_replicas", "rank", "num_samples", "total_size"), list[tuple[Any, dict[str, Any]]]()
    for sampler in distributed_samplers(loader):
        whole = DistributedSampler(sampler.dataset, 1, 0, drop_last=sampler.drop_last)
        kept.append((sampler, {name: getattr(sampler, name) for name in names}))
        vars(sampler).update({name: getattr(whole, name) for name in names})
    try:
        yield
    finally:
        for sampler, before in kept:
            vars(sampler).update(before)
