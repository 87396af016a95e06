"""AdapMTL's adaptive weighting: tasks whose loss has settled count more (ACM MM 2024, Eq. 6)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Set
from typing import Any, Literal

import torch
from torch import Tensor

from secateur.problem import Problem, check_choice, prunable
from secateur.weighting.weighting import Weighting, weighed

Variant = Literal["paper", "code"]


def adaptive_weights(ratios: Tensor, scale: float = 1.0, variant: Variant = "paper") -> Tensor:
    """β_t from the relative fluctuation r_t = σ_t / L_t of each task's loss.

    Args:
        ratios: r, (tasks,), positive.
        scale: λ·|W_B| / Σ|W_t|.
        variant: ``"paper"``: β_t = scale / (r_t / mean r), Eq. 6. ``"code"``: β_t = r_t / mean r, what the published
            code does; it moves the weights the other way and has no scale.

    Returns:
        β, (tasks,).

    Raises:
        ValueError: If ``variant`` is unknown.
    """
    check_choice("variant", variant, Variant)
    relative = ratios.clamp(min=1e-8)
    relative = relative / relative.mean()
    return scale / relative if variant == "paper" else relative


class AdaptiveWeighting(Weighting):
    """Weighs each task by the inverse of its loss's relative fluctuation over a window of steps.

    σ_t is the mean of |L_t^k − L_t^(k−1)| over the window, L_t the window's mean loss, of its size where losses are negative, such as −cos.
    Until the warm-up is over and the windows of all tasks are full, every task weighs 1. A batch that lacks a task leaves that task's
    window as it is. A warning says where warm-up and window, given as counts, leave no step of the training to act in, and which
    losses cross zero: how much they change in relation to their size says nothing.

    Args:
        window: Steps in the window; a fraction below 1 is a share of all steps (AdapMTL: 400 of 20,000).
        warmup: Steps before weights change; a fraction below 1 is a share of all steps (AdapMTL: 5,000 of 20,000).
        strength: λ of Eq. 6. With ``normalize`` it cancels out.
        size_factor: Multiply by |W_B| / Σ|W_t|, backbone weights over head weights. With ``normalize`` it cancels out.
        normalize: Scale the weights to mean 1, so that the weighting does not change the learning rate.
        variant: ``"paper"`` is Eq. 6; ``"code"`` the published code: not inverted, no λ, no size factor; r_t is the mean of
            |L_t^k − L_t^(k−1)| / |L_t^k|, step by step (2 where the sign changes), over a window that begins to fill when the warm-up is over.

    Raises:
        ValueError: If a setting is out of range.
    """

    def __init__(
        self,
        window: float = 0.1,
        warmup: float = 0.2,
        strength: float = 5.0,
        size_factor: bool = True,
        normalize: bool = True,
        variant: Variant = "paper",
    ) -> None:
        if window <= 0 or warmup < 0 or strength <= 0:
            raise ValueError(
                f"AdaptiveWeighting: window {window} and strength {strength} must be positive, warmup {warmup} not negative."
            )
        self.window, self.warmup, self.strength = window, warmup, strength
        self.size_factor, self.normalize = size_factor, normalize
        self.variant: Variant = variant

    def start(self, problem: Problem, steps: int) -> None:
        """Sizes the window and reads the size factor off the owners."""
        self._tasks = {task: row for row, task in enumerate(weighed(problem))}
        self._length = max(1, round(self.window * steps) if self.window < 1 else round(self.window))
        self._begin = round(self.warmup * steps) if self.warmup < 1 else round(self.warmup)
        # The published code waits for one change more than the window holds, and looks at nothing before the warm-up is over.
        code = self.variant == "code"
        self._ready = self._length + 2 if code else self._length + 1  # losses recorded
        first = self._begin + self._ready if code else max(self._begin + 1, self._ready)
        if first > steps and (self.window > 1 or self.warmup >= 1):
            warnings.warn(
                f"AdaptiveWeighting: with a warm-up of {self._begin} and a window of {self._length} steps the weights change from "
                f"step {first} on, and there are {steps}: every task will weigh 1. Give shares of the steps, such as warmup=0.25 "
                "and window=0.02.",
                stacklevel=4,
            )
        self._scale = self.strength * (_size_factor(problem, self._tasks.keys()) if self.size_factor else 1.0)
        self._look, self._said = max(1, self._length, steps // 20), False
        self._step = 0
        self._seen = dict.fromkeys(self._tasks, 0)
        device = next((p.device for p in problem.model.parameters()), torch.device("cpu"))
        count = len(self._tasks)
        self._levels = torch.zeros(count, self._length, device=device)  # (tasks, window), a ring per task
        self._changes = torch.zeros(count, self._length, device=device)
        self._last = torch.zeros(count, device=device)

    def __call__(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor | float]:
        """Records the losses and returns β; no value is read back to the host."""
        self._step += 1
        if self.variant == "paper" or self._step > self._begin:
            for task, loss in losses.items():
                self._record(task, loss.detach().float())
        ready = all(seen >= self._ready for seen in self._seen.values())
        if self._step <= self._begin or not ready:
            return dict.fromkeys(losses, 1.0)
        if not self._said and self._step % self._look == 0:
            self._say_crossing()
        level = self._levels.abs().mean(1).clamp(min=1e-8)
        weights = adaptive_weights(self._changes.mean(1) / level, self._scale, self.variant)
        if self.normalize:
            weights = weights / weights.mean()
        return {task: weights[self._tasks[task]] for task in losses}

    def state_dict(self) -> dict[str, Any]:
        """The windows and counters."""
        return {
            "step": self._step,
            "seen": dict(self._seen),
            "levels": self._levels,
            "changes": self._changes,
            "last": self._last,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up the windows and counters."""
        self._step, self._seen = state["step"], dict(state["seen"])
        self._levels.copy_(state["levels"])
        self._changes.copy_(state["changes"])
        self._last.copy_(state["last"])

    def _record(self, task: str, loss: Tensor) -> None:
        row, seen = self._tasks[task], self._seen[task]
        if seen:  # the first loss has nothing to differ from
            column, change = (seen - 1) % self._length, (loss - self._last[row]).abs()
            of_ratios = self.variant == "code"
            self._levels[row, column] = torch.copysign(torch.ones_like(loss), loss) if of_ratios else loss
            if of_ratios:
                crossed = (loss < 0) != (self._last[row] < 0)  # the change over the mean size of the two
                change = torch.where(crossed, 2.0, change / loss.abs().clamp(min=1e-8))
            self._changes[row, column] = change
        self._last[row] = loss
        self._seen[task] = seen + 1

    def _say_crossing(self) -> None:
        """Warns, once, of losses that have both signs in their window; it waits for the device, so it is not called at every step."""
        both = ((self._levels > 0).any(1) & (self._levels < 0).any(1)).tolist()
        if named := [repr(task) for task, row in self._tasks.items() if both[row]]:
            self._said = True
            warnings.warn(
                f"AdaptiveWeighting: the loss of {' and '.join(named)} crosses zero, where its change in relation to its size says nothing, "
                "and its weight means little. Give a loss that keeps its sign, such as 1 - cos in place of -cos, or another weighting.",
                stacklevel=4,
            )


def _size_factor(problem: Problem, tasks: Set[str]) -> float:
    """|W_B| / Σ|W_t|: weights that several of ``tasks`` own over weights that one owns; 1 where either is missing."""
    shared = own = 0
    for name, parameter in prunable(problem.model).items():
        owners = len(problem.owners[name] & tasks)
        own += parameter.numel() if owners == 1 else 0
        shared += parameter.numel() if owners > 1 else 0
    return shared / own if shared and own else 1.0
