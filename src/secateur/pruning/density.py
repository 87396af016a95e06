"""How many weights are left: overall, per component, per layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn


class DensityError(ValueError):
    """The density asked is out of reach under the constraints given with it; the message says what can be had."""


@dataclass(frozen=True)
class Density:
    """Kept fractions of the prunable weights.

    Args:
        overall: Nonzero weights over all prunable weights.
        components: Component to its own kept fraction.
        layers: Parameter name to its own kept fraction.
    """

    overall: float
    components: dict[str, float]
    layers: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """As plain dicts, for a file."""
        return asdict(self)


def weight(model: nn.Module, name: str) -> Tensor:
    """The effective value of the parameter called ``name``, whatever parametrization it is under."""
    prefix, _, attribute = name.rpartition(".")
    return getattr(model.get_submodule(prefix), attribute)


@torch.no_grad()
def density(model: nn.Module, components: Mapping[str, tuple[str, ...]]) -> Density:
    """Density of the weights in ``components``, from the exact zeros of their effective values."""
    names = [name for members in components.values() for name in members]
    weights = [weight(model, name) for name in names]
    sizes = dict(zip(names, (w.numel() for w in weights), strict=True))
    kept = dict(
        zip(names, torch.stack([w.count_nonzero() for w in weights]).tolist(), strict=True)
    )  # one read
    return Density(
        sum(kept.values()) / sum(sizes.values()),
        {
            c: sum(kept[n] for n in members) / sum(sizes[n] for n in members)
            for c, members in components.items()
        },
        {name: kept[name] / sizes[name] for name in names},
    )
