"""How many weights are left: overall, per component, per layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from secateur.problem import preserved_modes


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
        return {
            "overall": self.overall,
            "components": dict(self.components),
            "layers": dict(self.layers),
        }


def weight(model: nn.Module, name: str) -> Tensor:
    """The effective value of the parameter called ``name``, whatever parametrization it is under, as in eval mode."""
    prefix, _, attribute = name.rpartition(".")
    owner = model.get_submodule(prefix)
    lists = cast("nn.Module | None", getattr(owner, "parametrizations", None))
    if lists is None:
        return getattr(owner, attribute)
    with preserved_modes(lists):
        lists.eval()  # in training a spectral norm changes at each look
        return getattr(owner, attribute)


@torch.no_grad()
def density(model: nn.Module, components: Mapping[str, tuple[str, ...]]) -> Density:
    """Density of the weights in ``components``, from the exact zeros of their effective values.

    Raises:
        ValueError: If they name no weight.
    """
    names = [name for members in components.values() for name in members]
    if not names:
        raise ValueError(
            "density: components name no weight; give {component: names of weights}, as secateur.components(problem) does."
        )
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
