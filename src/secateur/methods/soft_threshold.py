"""AdapMTL's soft thresholds, driven by a schedule to the exact density asked (ACM MM 2024, section 3)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from secateur.components import By, Components, components, prunable
from secateur.masks import Masks
from secateur.problem import Problem
from secateur.schedules import check_density, check_ramp, cubic_density
from secateur.sparsifier import Sparsifier
from secateur.threshold import ExactThreshold, Shrinkage, attach, bake, detach


class SoftThreshold(Sparsifier):
    """Prunes with one soft threshold per component while training; the density follows a schedule exactly.

    Every step the common level α is set so that exactly the scheduled number of weights exceeds the threshold
    α_c = α·exp(u_c) of its component. At the end of the ramp the survivors' shrinkage is baked in, the mask is frozen,
    and they go on training.

    Args:
        density: Kept fraction of the prunable weights at the end of the ramp, in (0, 1]; 1 is dense training.
        components: Partition of the weights that share a threshold; see :func:`secateur.components.components`.
        ramp: Shares of the steps at which the density begins to fall and reaches its target.
        straight_through: Pruned weights keep receiving gradients until the freeze, so that they can come back
            (ST-3, arXiv 2212.01076). Otherwise AdapMTL's Eq. 4: no gradient below the threshold.
    """

    def __init__(
        self,
        density: float = 0.1,
        components: By = "owner",
        ramp: tuple[float, float] = (0.1, 0.6),
        straight_through: bool = True,
    ) -> None:
        self.density = check_density(density)
        check_ramp(*ramp)
        self.by: By = components
        self.ramp = ramp
        self.straight_through = straight_through
        self.masks: Masks | None = None

    def start(self, problem: Problem, steps: int) -> None:
        """Puts the thresholds, zero at first, on every prunable weight."""
        self._model: nn.Module = problem.model
        self._components: Components = components(problem, self.by)
        self._weights = {n: p for n, p in prunable(problem.model).items()}
        self._steps = steps
        if self.density == 1.0:
            return
        first = next(iter(self._weights.values()))
        dtype = torch.promote_types(first.dtype, torch.float32)
        self._alpha = {c: torch.zeros((), dtype=dtype, device=first.device) for c in self._components}
        self._find = ExactThreshold(sum(p.numel() for p in self._weights.values()))
        self._attach()

    def bind(self, optimizer: Optimizer) -> None:
        """Enforces the frozen mask, if there is one already."""
        if self.masks is not None:
            self.masks.bind(optimizer)

    def after_step(self, step: int, optimizer: Optimizer) -> None:
        """Moves the thresholds to the scheduled density; freezes the mask when the target is reached."""
        if self.density == 1.0 or self.masks is not None:
            return
        if step >= self._freeze_step:
            self._freeze(optimizer)
        else:
            self._follow(step)

    def finish(self) -> None:
        """Leaves plain weights; the mask is frozen here if training was shorter than the ramp."""
        if self.density < 1.0 and self.masks is None:
            self._freeze(None)
        if self.masks is not None:
            self.masks.unbind()

    def thresholds(self) -> dict[str, Tensor]:
        """Component to α_c, zero after the freeze."""
        return {} if self.density == 1.0 else self._alpha

    def state_dict(self) -> dict[str, Any]:
        """Thresholds and, after the freeze, the mask."""
        if self.density == 1.0:
            return {}
        return {"alpha": self._alpha, "masks": None if self.masks is None else self.masks.masks}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up the thresholds or the frozen mask."""
        if self.density == 1.0:
            return
        for component, alpha in self._alpha.items():
            alpha.copy_(state["alpha"][component])
        if state["masks"] is not None:
            self._detach()
            self.masks = Masks(self._weights, state["masks"])

    @property
    def _freeze_step(self) -> int:
        return max(1, round(self.ramp[1] * self._steps))

    def _attach(self) -> None:
        for component, names in self._components.items():
            for name in names:
                attach(self._model, name, Shrinkage(self._alpha[component], self.straight_through))

    def _detach(self) -> None:
        for name in self._weights:
            detach(self._model, name)

    def _follow(self, step: int) -> None:
        density = cubic_density(step / self._steps, self.density, *self.ramp)
        level = self._find(list(self._weights.values()), [1.0] * len(self._weights), self._keep(density))
        for alpha in self._alpha.values():
            alpha.copy_(level)

    def _freeze(self, optimizer: Optimizer | None) -> None:
        self.masks = bake(self._model, self._weights, dict.fromkeys(self._weights, 1.0), self._keep(self.density))
        if optimizer is not None:
            self.masks.zero_state_(optimizer)
            self.masks.bind(optimizer)
        for alpha in self._alpha.values():
            alpha.zero_()

    def _keep(self, density: float) -> int:
        return max(1, round(density * sum(p.numel() for p in self._weights.values())))
