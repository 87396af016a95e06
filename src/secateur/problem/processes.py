"""What processes that train one network together must have in common."""

from __future__ import annotations

from torch import Tensor, distributed


def averaged(gradient: Tensor) -> Tensor:
    """``gradient``, averaged over the processes where there are several, so that all weigh alike."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return gradient
    mean = gradient / distributed.get_world_size()
    distributed.all_reduce(mean)
    return mean
