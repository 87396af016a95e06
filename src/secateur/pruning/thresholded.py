"""What every method that trains under thresholds has in common, and how thresholded weights end as plain ones."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from secateur.problem import By, Problem, components, prunable
from secateur.pruning.effective import Effect, attach, detach
from secateur.pruning.levels import check_guard, guarded
from secateur.pruning.masks import Guard, Masks, say_idle, shortfall, top_masks
from secateur.pruning.pattern import Pattern, best_blocks, first_blocks, say_turned
from secateur.pruning.schedules import check_density, check_ramp
from secateur.pruning.sparsifier import Sparsifier
from secateur.pruning.threshold import Form, shrink
from secateur.pruning.ties import check_moving

Memory = Mapping[str, "Tensor | Memory"]
_SINGLE = Pattern()


class Thresholded(Sparsifier):
    """Layers compute with what thresholds leave of their weights; then the mask is frozen, and the survivors train on.

    A subclass says what the thresholds are, how they move and when they are done. After ``start`` it finds here ``model``,
    ``steps``, ``weights`` (name to prunable parameter), ``partition`` (component to names) and ``masks``, None until the freeze.

    Args:
        density: Kept fraction of the prunable weights in the end, in (0, 1]; 1 is dense training.
        by: Partition of the weights that share a threshold.
        ramp: Shares of the steps between which the density falls.
        at_least: Weights that every layer keeps.
        pattern: ``"unstructured"``, or a block such as ``"4x1"`` that the thresholds act on as a whole.

    Raises:
        ValueError: If a setting is out of range, or the density out of reach under them (in ``start``).
    """

    shrinkage: Form = "soft"
    straight_through: bool = False  # whether weights below their threshold have a gradient

    def __init__(
        self, density: float, by: By, ramp: tuple[float, float], at_least: int, pattern: str = "unstructured"
    ) -> None:
        self.density = check_density(density)
        check_ramp(ramp)
        self.by: By = by
        self.ramp, self.at_least = ramp, at_least
        self.pattern = Pattern.parse(pattern)
        if self.pattern.of:
            raise ValueError(
                f"{type(self).__name__}: pattern is {pattern!r}; a threshold acts on single weights or on blocks. Give "
                "'unstructured' or a block such as '4x1', or choose a method with masks for N:M, such as GradualMagnitude."
            )
        self.masks: Masks | None = None
        self._guard = Guard()

    def start(self, problem: Problem, steps: int) -> None:
        """Puts the thresholds on every prunable weight."""
        self.model: nn.Module = problem.model
        self.steps, self.masks = steps, None
        self.partition = components(problem, self.by)
        self.weights = prunable(problem.model)
        self._begin(next(iter(self.weights.values())))
        if self.density < 1.0:
            sizes = [p.numel() for p in self.weights.values()]
            blocks = [self.pattern.largest(p.shape) for p in self.weights.values()]
            check_guard(self.density, self._keep(self.density), sizes, self.at_least, blocks)
            say_turned(type(self).__name__, self.model, self.weights, self.pattern)
            if not self.straight_through:
                check_moving(type(self).__name__, self.weights, problem.owners)
            attach(self.model, self._effects())

    def bind(self, optimizer: Optimizer) -> None:
        """Enforces the mask around every step, as soon as it is frozen."""
        if self.density < 1.0:
            self._guard.bind(optimizer, lambda: self.masks)

    @torch.no_grad()
    def after_step(self, step: int, optimizer: Optimizer) -> None:
        """Moves the thresholds; freezes the mask when they are done."""
        if self.density < 1.0 and self.masks is None and self._move(step, optimizer):
            self._freeze(optimizer)

    def enforce(self) -> None:
        """Zeroes again what is pruned, once the mask is frozen."""
        if self.masks is not None:
            self.masks.zero_weights_()

    @torch.no_grad()
    def finish(self) -> None:
        """Leaves plain weights; the mask is frozen here if training was too short for it, and zeros among those that are kept are said."""
        if self.density < 1.0 and self.masks is None:
            self._freeze(None)
        self.undo()
        if self.masks is not None:
            say_idle(type(self).__name__, self.masks, self.weights, self.density, self.pattern.unit)

    def undo(self) -> None:
        """Takes thresholds and guard off."""
        self._guard.unbind()
        if hasattr(self, "model"):
            detach(self.model)

    def missed(self) -> str:
        """Whether the density is there, and every pruned weight zero."""
        return shortfall(self.masks, self.weights, self.density, self.pattern.unit)

    def state_dict(self) -> dict[str, Any]:
        """What the thresholds remember and, after the freeze, the mask."""
        return {**self._memory(), "masks": None if self.masks is None else self.masks.masks}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up the thresholds and the frozen mask, or goes back to before the freeze."""
        _take_up(self._memory(), state)
        if state["masks"] is not None:
            detach(self.model)
            self.masks = Masks(self.weights, state["masks"])
        elif self.masks is not None:
            self.masks = None
            attach(self.model, self._effects())

    def _keep(self, density: float) -> int:
        return max(1, round(density * sum(p.numel() for p in self.weights.values())))

    def _freeze(self, optimizer: Optimizer | None) -> None:
        size = sum(p.numel() for p in self.weights.values())
        keep = self.density * size if self.pattern.blocks else self._keep(self.density)
        self.masks = bake(
            self.model,
            self.weights,
            self._scales(),
            keep,
            self.shrinkage,
            self.at_least,
            self._in_force(),
            self.pattern,
        )
        if optimizer is not None:
            self.masks.zero_state_(optimizer)

    def _in_force(self) -> Mapping[str, Tensor] | None:
        """Name of each weight to the threshold that the freeze must not exceed; None where it sets them as the schedule does."""
        return None

    @abstractmethod
    def _begin(self, like: nn.Parameter) -> None:
        """Makes the thresholds as they are before training, for weights of this dtype and device."""

    @abstractmethod
    def _effects(self) -> Mapping[str, Effect]:
        """Name of each weight to what its layer computes with."""

    @abstractmethod
    def _move(self, step: int, optimizer: Optimizer) -> bool:
        """Moves the thresholds after ``step``, counted from 1; whether the mask is to be frozen now."""

    @abstractmethod
    def _scales(self) -> Mapping[str, Tensor | float]:
        """Name of each weight to the factor of its threshold, for the freeze."""

    @abstractmethod
    def _memory(self) -> Memory:
        """The tensors that the next step depends on, by names; they are taken up in place."""


def _take_up(memory: Memory, saved: Mapping[str, Any]) -> None:
    for name, value in memory.items():
        if isinstance(value, Tensor):
            value.copy_(saved[name])
        else:
            _take_up(value, saved[name])


@torch.no_grad()
def bake(
    model: nn.Module,
    weights: Mapping[str, nn.Parameter],
    scales: Mapping[str, Tensor | float],
    keep: float,
    form: Form = "soft",
    at_least: int = 0,
    highest: Mapping[str, Tensor] | None = None,
    pattern: Pattern = _SINGLE,
) -> Masks:
    """Turns thresholded weights into plain ones: exactly ``keep`` survive, shrunk, under a mask that no longer moves.

    Args:
        model: Holds the weights; it computes with them as they are from here on.
        weights: Name to the latent weight.
        scales: Name to the factor of its threshold; the common level that keeps ``keep`` weights is found here.
        keep: Number of weights to keep, in all: a whole number of single weights; of blocks to within half a block.
        form: How the survivors are shrunk.
        at_least: Weights that every layer keeps. A layer that would have fewer is shrunk by the largest of the rest of it.
        highest: Name to the threshold in force; none is raised above it. What a cut to ``keep`` takes beside is taken from the
            mask alone, so that the survivors compute what they did. None lets the common level shrink them all.
        pattern: What survives: single weights, or blocks by their root mean square.
    """
    ratios = {name: pattern.magnitude(w).div_(scales[name]) for name, w in weights.items()}
    chosen = dict(
        zip(
            weights,
            _chosen(list(weights.values()), list(ratios.values()), keep, at_least, pattern),
            strict=True,
        )
    )
    pruned = {n: r[~chosen[n]].max() for n, r in ratios.items() if not chosen[n].all()}
    least = {n: r[chosen[n]].min() for n, r in ratios.items() if chosen[n].any()}
    largest = max(pruned.values()) if pruned else None
    spared = {
        n for n, value in least.items() if largest is not None and value < largest
    }  # kept by the guard alone
    # Just below the smallest survivor and no lower than the largest of the pruned: every survivor stays nonzero.
    lowest = min(value for n, value in least.items() if n not in spared)
    level = torch.nextafter(lowest, torch.zeros_like(lowest))
    level = torch.minimum(level, largest) if largest is not None else torch.zeros_like(level)
    levels = {n: pruned.get(n, torch.zeros_like(level)) if n in spared else level for n in weights}
    thresholds = {name: levels[name] * scales[name] for name in weights}
    if highest is not None:
        thresholds = {n: torch.minimum(t, highest[n].to(t)) for n, t in thresholds.items()}
    shrunk = {name: shrink(w, thresholds[name], form, pattern) for name, w in weights.items()}
    chosen = {name: pattern.spread(chosen[name], w.shape) for name, w in weights.items()}
    detach(model)
    for name, weight in weights.items():
        value, latent = shrunk[name], weight.clone()
        rounded_away = chosen[name] & (value == 0)
        weight.copy_(torch.where(rounded_away, latent * torch.finfo(latent.dtype).eps, value))
    masks = Masks(weights, chosen)
    masks.zero_weights_()
    return masks


def _chosen(
    weights: Sequence[Tensor], ratios: Sequence[Tensor], keep: float, at_least: int, pattern: Pattern
) -> list[Tensor]:
    """True where a weight, or a block, is among those that stay."""
    if not pattern.blocks:
        return top_masks(guarded(ratios, at_least), round(keep))
    sizes = [pattern.sizes(w) for w in weights]
    worth = [
        r.masked_fill(first_blocks(r, s, at_least), torch.inf) for r, s in zip(ratios, sizes, strict=True)
    ]
    return best_blocks(worth, sizes, keep)
