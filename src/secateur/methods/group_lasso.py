"""Less is More: the group lasso over input channels, by exact proximal steps after Adam's (2023, Eq. 3 to 5)."""

from __future__ import annotations

import math
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.optim import Optimizer

from secateur.measures import group_costs
from secateur.problem import Problem
from secateur.pruning import (
    Groups,
    Masks,
    Sparsifier,
    all_weights,
    input_groups,
    lacking,
    prox,
    revived,
    say_large,
    schedules,
    share,
    strongest,
    survivors,
)
from secateur.shrinking import default_groups, problem_groups

_EVERY = 10  # steps between two cuts, the only ones that read a value back to the host
_AHEAD = 0.2  # share of the ramp that is looked ahead
_LEAST = 0.9  # of the density: a group whose death would leave less lives, where others can die
_PRESSURE = 3.0  # λ in units of what would take a group to zero in that time if no gradient resisted
_GROUPS = "groups"  # the key of the groups that are kept; single weights are kept under their names
Metric = dict[str, Tensor]


class GroupLasso(Sparsifier):
    """Adds λ·Σ_g √n_g·‖w_g‖₂ to the loss by a proximal step after every optimizer step, so that whole groups become zero.

    With ``strength`` λ is set by hand, as published: a group that is zero may come back. With ``density`` the kept share
    follows a cubic schedule to within one group: what the prox would kill next is penalised while its turn comes near, with
    a λ that brings it to zero by then, and cut for good when it does. What is not due is spared, which caps the penalty
    and leaves the survivors unshrunk; after the ramp they train on alone. A group so large that less than nine tenths of
    ``density`` would be left lives while others can die; where none can, a warning says what is left.

    The prox uses the published D = √v + eps, by which the published Adam divides too; torch's divides by √v/√(1 − β₂ᵏ) and its
    own eps, or ``adam_eps``, whatever λ or ``density`` is. A step that a gradient scaler skips is still followed by its prox.

    Args:
        density: Kept share of the grouped weights' cost at the end of the ramp, in (0, 1]; give this or ``strength``.
        strength: λ (published: 1e-6 and 1e-5); 0 is dense training.
        of: What ``density`` is a share of: parameters or multiply-accumulates of the grouped weights, or groups.
        groups: ``"input"``: each input channel of each shared convolution (:func:`secateur.pruning.groups.input_groups`).
            ``"coupled"``: all that reads one channel, in all layers, heads too (:func:`secateur.shrinking.coupled_groups`).
            ``"all"``: every prunable weight, for ``norm="l1"`` alone, whose default it is. That of groups is ``"input"``, and
            ``"coupled"`` where no convolution is shared: in networks of one task, of linear layers, of transformers.
        metric: ``"adaptive"``: D of Adam, as published; small gradients die first. ``"euclidean"``: D = 1, for any optimizer.
        norm: ``"l1"``: every weight is a group of its own, λ·Σ|w|; ``density`` is exact, and every layer keeps a weight.
        warmup: With ``strength``: steps before the penalty; a fraction below 1 is a share of all steps.
        ramp: With ``density``: shares of the steps at which the share begins to fall and reaches its target.
        eps: Added to √v in D; sets the scale below which weights die, so a hyper-parameter of the sparsity.
        adam_eps: Of the optimizer's steps (published: 1e-6, that of D); None leaves it the optimizer's own.
        decay: Decoupled weight decay of all parameters, in place of the optimizer's own (published: 0.1).
        bias_correct_prox: D·(1 − β₁ᵏ)/√(1 − β₂ᵏ), the metric of the very step; without, early steps shrink more.
    """

    def __init__(
        self,
        *,
        density: float | None = None,
        strength: float | None = None,
        of: Literal["parameters", "macs", "channels"] = "parameters",
        groups: Literal["input", "coupled", "all"] | Groups | None = None,
        metric: Literal["adaptive", "euclidean"] = "adaptive",
        norm: Literal["group", "l1"] = "group",
        warmup: float = 0.0,
        ramp: tuple[float, float] = (0.1, 0.7),
        eps: float = 1e-6,
        adam_eps: float | None = None,
        decay: float | None = None,
        bias_correct_prox: bool = False,
    ) -> None:
        if (density is None) == (strength is None):
            raise ValueError(f"GroupLasso: density {density}, strength {strength}; give exactly one of them.")
        schedules.check_density(1.0 if density is None else density)
        own = eps if adam_eps is None else adam_eps
        if not 0 <= (strength or 0.0) < math.inf or warmup < 0 or (decay or 0.0) < 0 or min(eps, own) <= 0:
            said = f"strength {strength}, warmup {warmup} and decay {decay} must not be negative"
            raise ValueError(f"GroupLasso: {said}, adam_eps {own} and eps {eps} positive.")
        if norm == "l1" and of != "parameters":
            raise ValueError(f"of is {of!r}, but norm 'l1' removes single weights; choose of='parameters'.")
        if groups == "all" and norm != "l1":
            raise ValueError(f"groups is 'all', but norm {norm!r} removes whole groups; choose norm='l1'.")
        schedules.check_ramp(ramp)
        self.density, self.strength, self.of = density, strength, of
        self.groups, self._chosen = groups or ("all" if norm == "l1" else "input"), groups is not None
        self.metric, self.norm, self.warmup, self.ramp = metric, norm, warmup, ramp
        self.eps, self.adam_eps, self.decay, self.bias_correct_prox = eps, adam_eps, decay, bias_correct_prox
        self.masks: Masks | None = None

    def start(self, problem: Problem, steps: int) -> None:
        """Finds the groups and their costs, and checks that the density can be reached."""
        self.masks = None
        parameters = dict(problem.model.named_parameters())
        groups = self.groups
        if not isinstance(groups, Groups):
            by = {"input": input_groups if self._chosen else default_groups, "all": all_weights}.get(groups)
            groups = (by or problem_groups)(problem)
        if unknown := sorted(groups.axis.keys() - parameters.keys()):
            raise ValueError(f"groups name {unknown}, which are not parameters of the model.")
        self._weights = {name: parameters[name] for name in groups.axis}
        self._others = {n: p for n, p in parameters.items() if n not in self._weights and p.requires_grad}
        self._plan, self._groups = groups, groups.to(next(iter(self._weights.values())).device)
        self._roots = self._groups.sizes(self._weights).sqrt()  # √n_g
        self._steps, self._spared = steps, dict[str, Tensor]()
        wait = self.warmup if self.density is None else self.ramp[0]
        self._begin = round(wait * steps) if wait < 1 else round(wait)
        self._optimizer: Optimizer | None = None
        self._level, self._frozen, self._moved = self.strength, False, False
        self._active = self.strength != 0.0 and self.density != 1.0
        if self.density is not None and self._active:
            ones = {name: torch.ones_like(p, dtype=torch.bool) for name, p in self._weights.items()}
            self.masks, self._costs = Masks(self._weights, ones), group_costs(problem, self._weights, self.of)
            self._strongest(self.density, None)

    def param_groups(self) -> list[dict[str, Any]]:
        """The grouped weights, and with ``decay`` or ``adam_eps`` all the others too."""
        asked: dict[str, Any] = {} if self.adam_eps is None else {"eps": self.adam_eps}
        asked |= {} if self.decay is None else {"weight_decay": self.decay, "decoupled_weight_decay": True}
        own = [{"params": list(self._weights.values()), **asked}] if asked or self._active else []
        return [*own, {"params": list(self._others.values()), **asked}] if asked else own

    def bind(self, optimizer: Optimizer) -> None:
        """Checks that the optimizer, or each of several, has what the metric needs; enforces the masks."""
        adaptive, everything = self.metric == "adaptive" and self._active, {**self._weights, **self._others}
        if adaptive and (kind := prox.lacking_moments(optimizer, self._weights, self.bias_correct_prox)):
            said = f"needs the moments of Adam, and {kind} has none; choose metric='euclidean'."
            raise ValueError(f"metric 'adaptive' {said}")
        if self.adam_eps is not None and (kind := lacking(optimizer, everything, "eps")):
            raise ValueError(f"adam_eps is {self.adam_eps}, and {kind} has no eps; choose Adam.")
        if self.decay is not None and (kind := lacking(optimizer, everything, "decoupled_weight_decay")):
            raise ValueError(f"decay {self.decay} is decoupled, which {kind} does not know; choose Adam.")
        self._optimizer = optimizer
        if self.masks is not None:
            self.masks.bind(optimizer)

    @torch.no_grad()
    def after_step(self, step: int, optimizer: Optimizer) -> None:
        """The proximal step; every few steps of the ramp a cut to the share due."""
        if not self._active or self._frozen or step <= self._begin:
            return
        if (found := self._of_step(optimizer)) is None:
            return  # a gradient scaler skipped the first steps: no weight has moved yet
        last = max(1, round(self.ramp[1] * self._steps))
        if self.density is not None and (self._level is None or step % _EVERY == 0 or step >= last):
            self._frozen = step >= last
            self._cut(1.0 if self._frozen else step / self._steps, found.metric, optimizer)
            self._look_ahead(step / self._steps, found)
        if not self._frozen and self._level:
            spared = self._spared if self.norm == "l1" else self._spared.get(_GROUPS)
            prox.descend(self._weights, self._groups, self._roots, found, found.rate * self._level, spared)

    def enforce(self) -> None:
        """Zeroes again what is cut."""
        if self.masks is not None:
            self.masks.zero_weights_()

    @torch.no_grad()
    def finish(self) -> None:
        """Leaves plain weights, at the density asked even if training was shorter than the ramp."""
        if self.masks is not None and not self._frozen:
            found = self._optimizer and self._of_step(self._optimizer)
            self._cut(1.0, found and found.metric, None)
        self.undo()
        if self.masks is not None and self.of != "channels":
            left = share(
                {name: float(m.double().mean()) for name, m in self.masks.masks.items()}, self._costs
            )
            if left < self._least():
                say_large(self._plan, self._weights, left, cast(float, self.density))

    def _least(self) -> float:
        return _LEAST * cast(float, self.density)

    def undo(self) -> None:
        """Stops enforcing the masks."""
        if self.masks is not None:
            self.masks.unbind()

    def missed(self) -> str:
        """Whether every pruned weight is zero; the share left is that of whole groups."""
        return revived(self.masks, self._weights) if self.masks is not None else ""

    def settled(self) -> bool:
        """Whether the last groups are cut; where no density is asked, what is there is what is asked."""
        return self.masks is None or self._frozen

    def thresholds(self) -> dict[str, Tensor]:
        """The present λ, as ``strength``, while it is controlled."""
        return {} if self._level is None or self.settled() else {"strength": torch.tensor(self._level)}

    def state_dict(self) -> dict[str, Any]:
        """The present λ, the groups that it spares, and the masks."""
        held = {"masks": self.masks and self.masks.masks, "spared": self._spared}
        return {"level": self._level, "frozen": self._frozen, **held}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up λ and the masks."""
        self._level, self._frozen, self._moved = state["level"], state["frozen"], False
        self._spared = {name: spared.to(self._roots.device) for name, spared in state["spared"].items()}
        if self.masks is not None:
            self.masks.replace_(state["masks"], None)

    def _share(self, alive: Tensor) -> float:
        parts = self._groups.kept_fraction(alive) if self.of != "channels" else {}
        return share(parts, self._costs) if parts else float(alive.double().mean())

    def _of_step(self, optimizer: Optimizer) -> prox.Step | None:
        own = self.metric == "adaptive", self.bias_correct_prox
        self._moved = self._moved or not own[0] or prox.has_moved(self._weights, optimizer)
        return prox.of_step(self._weights, optimizer, self.eps, *own) if self._moved else None

    def _cut(self, progress: float, metric: Metric | None, optimizer: Optimizer | None) -> None:
        """Removes for good what the schedule has due by now."""
        if self.masks is not None and self._due(progress) < 1.0:
            kept, _ = self._strongest(self._due(progress), metric)
            masks = self._groups.masks(kept[_GROUPS], self._weights) if self.norm == "group" else kept
            self.masks.replace_({n: mask & self.masks.masks[n] for n, mask in masks.items()}, optimizer)

    def _look_ahead(self, progress: float, step: prox.Step) -> None:
        """Spares what is not due soon, and sets λ for the rest."""
        ahead = _AHEAD * (self.ramp[1] - self.ramp[0])
        self._spared, highest = self._strongest(self._due(progress + ahead), step.metric)
        self._level = _PRESSURE * highest / max(1.0, ahead * self._steps) / step.rate if step.rate else 0.0

    def _due(self, progress: float) -> float:
        return schedules.cubic_density(progress, cast(float, self.density), *self.ramp)

    def _strongest(self, density: float, metric: Metric | None) -> tuple[dict[str, Tensor], float]:
        """What to keep for a share, and of the rest the highest ‖D w_g‖₂/√n_g, or |D w|: the κ/√n_g at which the prox kills."""
        points = {n: p.detach() * metric[n] if metric else p.detach() for n, p in self._weights.items()}
        if self.norm == "l1":
            free = self._groups.spread(torch.zeros_like(self._roots), torch.inf, self._weights)
            return strongest({name: p.abs() + free[name] for name, p in points.items()}, density, at_least=1)
        scores = torch.where(self._roots > 0, self._groups.norms(points) / self._roots, torch.inf)
        host = scores.cpu()
        alive = survivors(self._plan, host, self._share, density, self._least())
        return {_GROUPS: alive.to(scores.device)}, float(host.masked_fill(alive, 0.0).max())
