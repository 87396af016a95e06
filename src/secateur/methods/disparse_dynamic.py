"""DiSparse, the dynamic variant (Sun et al. 2022, arXiv 2206.04662): sparse throughout, every task grows what it needs."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from secateur.problem import Problem
from secateur.pruning import (
    Distribution,
    Masked,
    check_share,
    check_slopes,
    drop_share,
    dropped,
    scores,
    select,
    top,
)


class DiSparseDynamic(Masked):
    """Layers drop their smallest weights every few steps, and each task grows where its own gradient is largest.

    Layer densities are Erdős-Rényi-Kernel. A shared layer grows what any of its tasks wants, so between two exchanges the
    density lies above the one asked, as published; at ``until`` a last drop makes it exact, and the masks stay. Unlike in the
    published code, gradients are those of the masked network, and what is grown begins at 0 with fresh optimizer state, except
    what the same exchange dropped, which keeps both. Where no gradient ever reaches a grown weight it stays 0, and then
    fewer weights than asked are nonzero. A layer that is frozen on the way keeps its masks meanwhile.

    Args:
        density: Kept fraction of the prunable weights in the end, in (0, 1]; 1 is dense training.
        every: Steps between two exchanges; a hundredth of the steps if None (published: 50 of 20,000).
        until: Share of the steps after which the masks stay.
        drop: Share of a layer's weights that is exchanged at first; it falls to 0 along half a cosine.
        distribution: Layer densities: ``"erk"`` or ``"uniform"``.
        power: Of the Erdős-Rényi-Kernel; 0.9 as published, 1 is RigL's.
        batches: Training batches for the tasks' gradients at an exchange; which ones is a function of the step.
        seed: Of the first masks.
        at_least: Weights that every layer keeps.

    Raises:
        ValueError: If a setting is out of range, the density out of reach under them, or the gradient of a task zero
            everywhere (in ``start``).
    """

    def __init__(
        self,
        density: float = 0.1,
        *,
        every: int | None = None,
        until: float = 0.75,
        drop: float = 0.5,
        distribution: Distribution = "erk",
        power: float = 0.9,
        batches: int = 1,
        seed: int = 0,
        at_least: int = 1,
    ) -> None:
        super().__init__(density)
        if every is not None and every < 1:
            raise ValueError(f"every is {every}; give at least 1 step between two exchanges.")
        if not 0.0 <= drop < 1.0:
            raise ValueError(f"drop is {drop}; it is the share of the weights that is exchanged, in [0, 1).")
        if batches < 1:
            raise ValueError(f"batches is {batches}; a gradient needs at least 1.")
        if distribution not in ("erk", "uniform"):
            raise ValueError(
                f"distribution is {distribution!r}; the density of each layer is fixed: 'erk' or 'uniform'."
            )
        self.every = every
        self.until = check_share("until", until)
        self.drop = drop
        self.distribution: Distribution = distribution
        if not power >= 0.0:
            raise ValueError(
                f"power is {power}; it is the exponent of a layer's share and must not be negative."
            )
        self.power = power
        self.batches = batches
        self.seed = seed
        self.at_least = at_least

    def start(self, problem: Problem, steps: int) -> None:
        """Draws the first masks."""
        super().start(problem, steps)
        self._final = self.density == 1.0
        self._count: dict[str, int] = {}
        if not self._final:
            drawn = scores.random(self.weights, self.seed)
            masks = select(
                drawn,
                self.density,
                distribution=self.distribution,
                at_least=self.at_least,
                power=self.power,
            )
            check_slopes(problem)
            self._count = {name: int(mask.sum()) for name, mask in masks.items()}
            self.masks.replace_(masks, None)

    def after_step(self, step: int, optimizer: Optimizer) -> None:
        """Exchanges weights, where it is time; at the end drops to the density asked."""
        if self._final:
            return
        end = max(1, self.at_step(self.until))
        if step >= end:
            self._settle(optimizer)
        elif step % (self.every or max(1, self.steps // 100)) == 0:
            self._exchange(step, drop_share(step / end, self.drop), optimizer)

    def finish(self) -> None:
        """Leaves plain weights at the density asked."""
        if not self._final:
            self._settle(None)
        super().finish()

    def settled(self) -> bool:
        """Whether the last drop is over, and the masks stay."""
        return self._final

    def state_dict(self) -> dict[str, Any]:
        """The masks, and whether they are final."""
        return {**super().state_dict(), "final": self._final}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes them up."""
        super().load_state_dict(state)
        self._final = state["final"]

    def _exchange(self, step: int, share: float, optimizer: Optimizer) -> None:
        trained = {name: w for name, w in self.weights.items() if w.requires_grad}
        if not trained:
            return
        wanted = scores.task_gradients(self.problem, trained, self.batches, first=step, strict=False)
        wanted = {t: {n: g for n, g in own.items() if g.any()} for t, own in wanted.items()}
        reached = {name for own in wanted.values() for name in own}  # others stay as they are
        moved = {name: round(share * count) for name, count in self._count.items()}
        old = self.masks.masks
        smaller = self._smaller({name: count - moved[name] for name, count in self._count.items()})
        kept = {name: smaller[name] if name in reached else old[name] for name in old}
        grown = dict(kept)
        for own in wanted.values():
            for name, gradient in own.items():
                grown[name] = grown[name] | top(gradient.abs(), moved[name], ~kept[name])
        self.masks.replace_(
            grown, optimizer
        )  # once: what is dropped and grown in one exchange was never away

    def _settle(self, optimizer: Optimizer | None) -> None:
        self.masks.replace_(self._smaller(self._count), optimizer)
        self._final = True

    def _smaller(self, counts: dict[str, int]) -> dict[str, Tensor]:
        """The masks with the largest weights of each layer only."""
        old = self.masks.masks
        return {
            n: dropped(p.detach(), old[n], int(old[n].sum()) - counts[n]) for n, p in self.weights.items()
        }
