"""Looks at the numbers of tensors of every kind."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase  # pyright: ignore[reportPrivateUsage]

from secateur.problem import tensor_parts
from secateur.storage import is_finite


def norm(parameters: list[Tensor], device: torch.device) -> Tensor:
    """Of their gradients; finite only if all of them are."""
    found = [p.grad for p in parameters if p.grad is not None]
    dense = [g.coalesce().values() if g.is_sparse else g for g in found]
    return nn.utils.get_total_norm(dense).to(device, torch.float32)  # five times faster than the largest


def has_norm(value: Tensor) -> bool:
    """Whether torch knows the norm of such a tensor; others are left to whoever looks at each."""
    number = value.is_floating_point() or value.is_complex()
    return number and value.dtype.itemsize > 1 and value.numel() > 0


def has_nan(value: Tensor) -> bool:
    """Whether one of its numbers is NaN."""
    numbers = tensor_parts(value)[0]
    return not is_finite(numbers) and bool(
        (numbers.float() if numbers.dtype.itemsize == 1 else numbers).isnan().any()
    )


def is_high(value: Tensor) -> bool:
    """Whether it holds plus infinity, and neither NaN nor, as masks do, minus infinity."""
    if is_finite(value) or value.is_complex():
        return False
    numbers = tensor_parts(value)[0].float()
    return bool((numbers == torch.inf).any()) and not bool((numbers.isnan() | (numbers == -torch.inf)).any())


def statistics(model: nn.Module) -> set[str]:
    """Names of the buffers of torch's normalisations."""
    found = {id(b) for m in model.modules() if isinstance(m, _NormBase) for b in m.buffers(recurse=False)}
    return {name for name, buffer in model.named_buffers() if id(buffer) in found}
