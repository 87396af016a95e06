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
_FINEST = 2.0**-23  # relative to a loss: what changes by less has changed by rounding
_LEAST, _LONG = (
    0.01,
    10,
)  # r over its mean, and the steps of a window in which it is no chance that it is less


def adaptive_weights(
    ratios: Tensor, scale: float = 1.0, variant: Variant = "paper", least: float = 0.0
) -> Tensor:
    """β_t from the relative fluctuation r_t = σ_t / L_t of each task's loss.

    A loss that does not change, or is 0, has no ratio: Eq. 6 is 1/0 there, or 0/0. It has no part in the mean of r, and the weight of
    a task whose r is that mean.

    Args:
        ratios: r, (tasks,); none where it is not finite, or 0 to rounding.
        scale: λ·|W_B| / Σ|W_t|.
        variant: ``"paper"``: β_t = scale / (r_t / mean r), Eq. 6. ``"code"``: β_t = r_t / mean r, what the published
            code does; it moves the weights the other way and has no scale.
        least: For ``"paper"``: what r_t / mean r counts as where it is less.

    Returns:
        β, (tasks,).

    Raises:
        ValueError: If ``variant`` is unknown.
    """
    check_choice("variant", variant, Variant)
    relative = _filled(ratios, _known(ratios))
    relative = relative / relative.mean()
    return scale / relative.clamp(min=least) if variant == "paper" else relative


class AdaptiveWeighting(Weighting):
    """Weighs each task by the inverse of its loss's relative fluctuation over a window of steps.

    σ_t is the mean of |L_t^k − L_t^(k−1)| over the window, L_t the window's mean loss, of its size where losses are negative, such as −cos.
    Until the warm-up is over and the windows of all tasks are full, every task weighs 1. A batch that lacks a task, or whose loss of it
    is NaN or infinite, leaves that task's window as it is. A warning says where warm-up and window, given as counts, leave no step of the
    training to act in, where a task has too few losses to fill its window, as where many take turns, and which losses cross zero: how
    much they change in relation to their size says nothing.

    A loss that is 0, or does not change, throughout its window has no ratio: its task weighs 1, or with ``normalize=False`` λ times the
    size factor, and the others are weighed among themselves. In a window of 10 steps or more no ratio counts as less than a hundredth of the
    mean, so that a loss that hardly changes does not take all the weight; it is said.

    Args:
        window: Steps in the window; a fraction below 1 is a share of all steps (AdapMTL: 400 of 20,000).
        warmup: Steps before weights change; a fraction below 1 is a share of all steps (AdapMTL: 5,000 of 20,000).
        strength: λ of Eq. 6. With ``normalize`` it cancels out.
        size_factor: Multiply by |W_B| / Σ|W_t|, backbone weights over head weights. With ``normalize`` it cancels out.
        normalize: Scale the weights to mean 1, so that the weighting does not change the learning rate.
        variant: ``"paper"`` is Eq. 6; ``"code"`` the published code: not inverted, no λ, no size factor; r_t is the mean of
            |L_t^k − L_t^(k−1)| / |L_t^k|, step by step (2 where the sign changes, or less than a thousandth of the loss is left), over a
            window that begins to fill when the warm-up is over.

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
        self._steps, self._first = (
            steps,
            self._begin + self._ready if code else max(self._begin + 1, self._ready),
        )
        if self._first > steps and (self.window > 1 or self.warmup >= 1):
            warnings.warn(
                f"AdaptiveWeighting: with a warm-up of {self._begin} and a window of {self._length} steps the weights change from "
                f"step {self._first} on, and there are {steps}: every task will weigh 1. Give shares of the steps, such as warmup=0.25 "
                "and window=0.02.",
                stacklevel=4,
            )
        self._scale = self.strength * (_size_factor(problem, self._tasks.keys()) if self.size_factor else 1.0)
        self._look, self._said = max(1, self._length, steps // 20), set[str]()
        self._step = 0
        device = next((p.device for p in problem.model.parameters()), torch.device("cpu"))
        count = len(self._tasks)
        self._rows: dict[tuple[str, ...], Tensor] = {}
        self._seen = torch.zeros(count, dtype=torch.int64, device=device)  # losses recorded
        self._levels = torch.zeros(count, self._length, device=device)  # (tasks, window), a ring per task
        self._changes = torch.zeros(count, self._length, device=device)
        self._last = torch.zeros(count, device=device)
        if isinstance(problem.train, Mapping) and self._first <= steps:
            turns = (steps - (self._begin if code else 0)) / len(problem.train)
            self._say_few({task: turns for task in problem.train if task in self._tasks}, steps)

    def __call__(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor | float]:
        """Records the losses and returns β; no value is read back to the host."""
        self._step += 1
        if self.variant == "paper" or self._step > self._begin:
            self._record(losses)
        if self._step <= self._begin:
            return dict.fromkeys(losses, 1.0)
        if (
            self._step == self._first
        ):  # the only steps that wait for the device are this one and those of a look
            self._say_few(dict(zip(self._tasks, self._seen.tolist(), strict=True)), self._step)
        ratios = self._changes.mean(1) / self._levels.abs().mean(1)
        least = _LEAST if self._length >= _LONG else 0.0
        if self._step % self._look == 0:
            self._say_odd(ratios, least)
        weights = adaptive_weights(ratios, self._scale, self.variant, least)
        if self.normalize:
            weights = _filled(weights, _known(ratios))
            weights = weights / weights.mean()
        weights = torch.where((self._seen >= self._ready).all(), weights, 1.0)
        return {task: weights[self._tasks[task]] for task in losses}

    def state_dict(self) -> dict[str, Any]:
        """The windows and counters."""
        return {
            "step": self._step,
            "seen": dict(zip(self._tasks, self._seen.tolist(), strict=True)),
            "levels": self._levels,
            "changes": self._changes,
            "last": self._last,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up the windows and counters."""
        self._step = state["step"]
        self._seen.copy_(torch.tensor([state["seen"][task] for task in self._tasks]))
        self._levels.copy_(state["levels"])
        self._changes.copy_(state["changes"])
        self._last.copy_(state["last"])

    def _record(self, losses: Mapping[str, Tensor]) -> None:
        """Takes the losses that are finite into the windows of their tasks."""
        rows = self._rows_of(tuple(losses))  # (tasks of the batch,)
        loss = torch.stack([one.detach().float().reshape(()).to(rows.device) for one in losses.values()])
        last, seen, there = self._last[rows], self._seen[rows], loss.isfinite()
        change, level = (loss - last).abs(), loss
        if self.variant == "code":
            level = torch.copysign(torch.ones_like(loss), loss)
            # the change over the mean size of the two, where that of the last is next to nothing, or no measure
            crossed = ((loss < 0) != (last < 0)) | (loss.abs() < 1e-3 * last.abs())
            change = torch.where(crossed, 2.0, change / loss.abs().clamp(min=torch.finfo(loss.dtype).tiny))
        filled = there & (seen > 0)  # the first loss has nothing to differ from
        places = rows * self._length + (seen - 1).clamp(min=0) % self._length
        for ring, value in ((self._levels.view(-1), level), (self._changes.view(-1), change)):
            ring.index_copy_(0, places, torch.where(filled, value, ring[places]))
        self._last.index_copy_(0, rows, torch.where(there, loss, last))
        self._seen.index_copy_(0, rows, seen + there)

    def _rows_of(self, tasks: tuple[str, ...]) -> Tensor:
        if tasks not in self._rows:
            found = [self._tasks[task] for task in tasks]
            self._rows[tasks] = torch.tensor(found, device=self._last.device)
        return self._rows[tasks]

    def _say_few(self, counts: Mapping[str, float], step: int) -> None:
        """Warns of tasks whose window will not be full before the end, ``counts`` being the losses of each in ``step`` steps."""
        begin = self._begin if self.variant == "code" else 0
        rates = {task: count / (step - begin) for task, count in counts.items()}
        left = self._steps - step
        few = [t for t, n in counts.items() if n + rates[t] * left < self._ready]
        if few:
            self._first = 0
            named, rate = " and ".join(map(repr, few[:3])) + (" and others" if few[3:] else ""), rates[few[0]]
            warnings.warn(
                f"AdaptiveWeighting: every task will weigh 1: {named} will have some {int(counts[few[0]] + rate * left)} losses by step "
                f"{self._steps}, and the windows of all tasks are full after {self._ready}. Batches that lack a task do not fill its "
                f"window; give a shorter one, such as window={max(1, int(rate * self._length))}.",
                stacklevel=5,
            )

    def _say_odd(self, ratios: Tensor, least: float) -> None:
        """Warns, once each, of losses that have both signs in their window or hardly change; it waits for the device."""
        both = ((self._levels > 0).any(1) & (self._levels < 0).any(1)).tolist()
        self._say(
            [task for task, row in self._tasks.items() if both[row]],
            "crosses zero, where its change in relation to its size says nothing, and its weight means little. Give a loss that keeps its "
            "sign, such as 1 - cos in place of -cos, or another weighting.",
        )
        known, full = _known(ratios), self._seen >= self._ready
        low = known & full & (ratios < least * _filled(ratios, known).mean()) & full.all()
        settled = low.tolist() if self.variant == "paper" else []
        self._say(
            [task for task, row in self._tasks.items() if settled and settled[row]],
            "hardly changes, which Eq. 6 gives nearly all the weight; its ratio counts as a hundredth of the mean. Leave out what is "
            "constant in it, or the task, or choose another weighting.",
        )

    def _say(self, tasks: list[str], what: str) -> None:
        if tasks and what not in self._said:
            self._said.add(what)
            named = " and ".join(map(repr, tasks))
            warnings.warn(f"AdaptiveWeighting: the loss of {named} {what}", stacklevel=5)


def _known(ratios: Tensor) -> Tensor:
    """Which losses have a ratio: their change is one, and not rounding; (tasks,) bool."""
    return ratios.isfinite() & (ratios > _FINEST)


def _filled(values: Tensor, known: Tensor) -> Tensor:
    """The values that are known, and their mean for the others; 1 where none is."""
    mean = torch.where(known, values, 0.0).sum() / known.sum()
    return torch.where(known, values, torch.where(known.any(), mean, 1.0))


def _size_factor(problem: Problem, tasks: Set[str]) -> float:
    """|W_B| / Σ|W_t|: weights that several of ``tasks`` own over weights that one owns; 1 where either is missing."""
    shared = own = 0
    for name, parameter in prunable(problem.model).items():
        owners = len(problem.owners[name] & tasks)
        own += parameter.numel() if owners == 1 else 0
        shared += parameter.numel() if owners > 1 else 0
    return shared / own if shared and own else 1.0
