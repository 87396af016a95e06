"""The first step at which something was NaN or infinite, on its device: nothing is read back until it is asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor


class First:
    """The first bad step of each of several values."""

    def __init__(self) -> None:
        self._steps: dict[str, Tensor] = {}

    def look(self, name: str, value: Tensor, step: int) -> None:
        """Takes the value of one step, a scalar."""
        never = torch.full_like(value, torch.inf, dtype=torch.float32)
        now = torch.where(value.isfinite(), never, step)
        before = self._steps.get(name)
        self._steps[name] = now if before is None else before.to(now.device).minimum(now)

    def steps(self) -> dict[str, float]:
        """Name to its first bad step, where there is one."""
        found = {name: float(step) for name, step in self._steps.items()}
        return {name: step for name, step in found.items() if math.isfinite(step)}

    def forget(self) -> None:
        """None of them was bad so far."""
        self._steps = {name: torch.full_like(step, torch.inf) for name, step in self._steps.items()}

    def __bool__(self) -> bool:
        return bool(self._steps)


def numbers(x: Any) -> Iterator[Tensor]:
    """Tensors of floating-point numbers in an input: a tensor, or mappings, tuples and lists of them; others are not looked into."""
    if isinstance(x, Tensor):
        if x.is_floating_point() and x.element_size() > 1 and x.layout == torch.strided:
            yield x
    elif isinstance(x, (Mapping, tuple, list)):
        parts = cast(Mapping[Any, Any], x).values() if isinstance(x, Mapping) else cast(list[Any], x)
        for part in parts:
            yield from numbers(part)
