"""RigL (Evci et al. 2020, arXiv 1911.11134) and SET (Mocanu et al. 2018, arXiv 1707.04780): sparse from the first step on."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor
from torch.optim import Optimizer

from secateur.problem import Problem
from secateur.pruning import (
    Distribution,
    Masked,
    before_step,
    check_share,
    check_slopes,
    drop_share,
    dropped,
    scores,
    select,
    top,
)


class RigL(Masked):
    """Random masks at first; every few steps each layer drops its smallest weights and grows as many others.

    The masks have the density asked at every step. What is grown begins at 0, with fresh optimizer state, except what the same
    exchange dropped, which keeps both, as in the published code. Where no gradient ever reaches a grown weight it stays 0, and
    then fewer weights than asked are nonzero. The gradients that decide about growth are those of the training step itself,
    before the masks zero them; where they are not all finite, as at a step that a gradient scaler skips, nothing is exchanged. A layer
    that is frozen on the way keeps its masks meanwhile.

    Args:
        density: Kept fraction of the prunable weights, in (0, 1]; 1 is dense training.
        grow: ``"gradient"``: where the gradient of the loss is largest (RigL); ``"random"``: anywhere (SET).
        every: Steps between two exchanges; a hundredth of the steps if None (published: 100).
        until: Share of the steps after which the masks stay.
        drop: Share of a layer's weights that is exchanged at first; it falls to 0 along half a cosine.
        distribution: Layer densities: ``"erk"``, ``"uniform"`` or ``"global"`` (of random scores).
        seed: Of the first masks and of random growth.
        at_least: Weights that every layer keeps.

    Raises:
        ValueError: If a setting is out of range, the density out of reach under them, or, where gradients decide, that of a task
            zero everywhere (in ``start``).
    """

    def __init__(
        self,
        density: float = 0.1,
        grow: Literal["gradient", "random"] = "gradient",
        *,
        every: int | None = None,
        until: float = 0.75,
        drop: float = 0.3,
        distribution: Distribution = "erk",
        seed: int = 0,
        at_least: int = 1,
    ) -> None:
        super().__init__(density)
        if every is not None and every < 1:
            raise ValueError(f"every is {every}; give at least 1 step between two exchanges.")
        if not 0.0 <= drop < 1.0:
            raise ValueError(f"drop is {drop}; it is the share of the weights that is exchanged, in [0, 1).")
        if distribution == "component":
            raise ValueError(
                "distribution is 'component'; RigL fixes the density of each layer: 'erk', 'uniform', 'global'."
            )
        self.grow: Literal["gradient", "random"] = grow
        self.every = every
        self.until = check_share("until", until)
        self.drop = drop
        self.distribution: Distribution = distribution
        self.seed = seed
        self.at_least = at_least

    def start(self, problem: Problem, steps: int) -> None:
        """Draws the first masks."""
        super().start(problem, steps)
        self._done = 0
        self._gradients: dict[str, Tensor] = {}
        self._hook: Any = None
        if self.density < 1.0:
            drawn = scores.random(self.weights, self.seed)
            masks = select(drawn, self.density, distribution=self.distribution, at_least=self.at_least)
            if self.grow == "gradient":
                check_slopes(problem)
            self.masks.replace_(masks, None)

    def bind(self, optimizer: Optimizer) -> None:
        """Looks at the gradients before the masks do."""
        if self.density < 1.0 and self.grow == "gradient":
            self._unhook()
            self._hook = before_step(optimizer, lambda: self._look(optimizer))
        super().bind(optimizer)

    @property
    def _looks_at_gradients(self) -> bool:
        return self.grow == "gradient"

    def after_step(self, step: int, optimizer: Optimizer) -> None:
        """Exchanges weights, where it is time."""
        self._done = step
        if self.density == 1.0 or not self._due(step):
            return
        share = drop_share(step / max(1, self.at_step(self.until)), self.drop)
        old = self.masks.masks
        wanted = self._wanted(step)
        count = {n: round(share * int(old[n].sum())) if n in wanted else 0 for n in old}
        kept = {n: dropped(p.detach(), old[n], count[n]) for n, p in self.weights.items()}
        grown = {n: top(wanted[n], count[n], ~kept[n]) if count[n] else kept[n] for n in kept}
        # Once, when all is decided: what is dropped and grown in one exchange was never away, and keeps weight and moments.
        self.masks.replace_({n: kept[n] | grown[n] for n in kept}, optimizer)
        self._gradients = {}

    def settled(self) -> bool:
        """Whether what was grown last has been trained for a step, so that the density is not in the masks alone."""
        return not (self.density < 1.0 and self._due(self._done)) and super().settled()

    def undo(self) -> None:
        """Stops enforcing the masks, and looking at gradients."""
        self._unhook()
        super().undo()

    def state_dict(self) -> dict[str, Any]:
        """The masks and the place in the round."""
        return {**super().state_dict(), "done": self._done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes them up."""
        super().load_state_dict(state)
        self._done = state["done"]

    def _due(self, step: int) -> bool:
        every = self.every or max(1, self.steps // 100)
        return step % every == 0 and step < self.at_step(self.until)

    def _wanted(self, step: int) -> scores.Scores:
        """How much each place is wanted; layers without a gradient are left out, and stay as they are."""
        if self.grow == "random":
            drawn = scores.random(self.weights, self.seed * 1_000_003 + step)
            return {n: score for n, score in drawn.items() if self.weights[n].requires_grad}
        return self._gradients

    def _look(self, optimizer: Optimizer) -> None:
        if self._due(self._done + 1):
            found = {n: p.grad for n, p in self.weights.items() if p.grad is not None and p.requires_grad}
            # A fused optimizer skips a step itself, where its scaler has told it to.
            skipped = bool(getattr(optimizer, "found_inf", None) or False)
            if skipped or not all(bool(g.isfinite().all()) for g in found.values()):
                found = {}
            self._gradients = {n: g.abs() for n, g in found.items() if g.any()}  # zeros wish for nothing

    def _unhook(self) -> None:
        if getattr(self, "_hook", None) is not None:
            self._hook.remove()
            self._hook = None
