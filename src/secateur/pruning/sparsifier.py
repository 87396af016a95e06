"""What a pruning method is: hooks around training. The base class prunes nothing."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from typing import Any, Self

from torch import Tensor, nn
from torch.optim import Optimizer

from secateur.problem import Problem, check_arguments, prunable

_ZERO_FRACTIONS = {
    "sparsity",
    "target_sparsity",
    "final_sparsity",
    "amount",
    "pruning_ratio",
    "ratio",
}  # of other tools


class Sparsifier:
    """A method that trains zeros into a model; this base class is dense training.

    :class:`secateur.Pruning` (and so ``fit``) calls, in this order: ``start`` and ``param_groups``; ``bind`` with every new
    optimizer; ``load_state_dict`` when a stopped run goes on; then for each step ``penalty``, and ``after_step`` as soon as the
    optimizer has stepped, while the gradients are still there, and ``enforce`` when the step ends; at the end of each round ``after_round``; at the very end
    ``finish``, which leaves a plain module with exact zeros, or ``undo`` if something raised before.
    """

    rounds: int = 1

    def __new__(cls, *given: Any, **settings: Any) -> Self:
        """Refuses misspelt words and numbers that are none, and says what is meant where a zero fraction is given: a density is the share that is kept."""
        if cls.__init__ is object.__init__ and (given or settings):
            raise TypeError(f"{cls.__name__}() takes no arguments, not {sorted(settings) or given}.")
        for name in _ZERO_FRACTIONS & settings.keys() - inspect.signature(cls.__init__).parameters.keys():
            value = settings[name]
            meant = (
                f"density={1 - value:g}"
                if isinstance(value, (int, float)) and 0 < value < 1
                else "density=0.1"
            )
            raise TypeError(
                f"{cls.__name__}: {name} is {value!r}, which it does not take; give the density, the share that is kept: {meant}."
            )
        check_arguments(cls.__init__, cls.__name__, given, settings)
        _check_least(cls.__name__, settings)
        return super().__new__(cls)

    def resumes_at(self, steps: int) -> int:
        """The step of a round of ``steps`` that later rounds go on from: its schedule, and so many steps fewer; 0 begins anew."""
        return 0

    def total(self, steps: int) -> int:
        """Optimizer steps over all rounds, ``steps`` in the first."""
        return steps + (self.rounds - 1) * (steps - self.resumes_at(steps))

    def start(self, problem: Problem, steps: int) -> None:
        """Prepares the problem's model for ``steps`` optimizer steps; bad settings raise here.

        Dense training warns where most of the weights are zero already, since it loses those of these zeros that get gradients.
        """
        if type(self) is Sparsifier:
            weights = prunable(problem.model).values()
            zeros = sum(w.numel() - int(w.count_nonzero()) for w in weights)
            share = zeros / max(1, sum(w.numel() for w in weights))
            if share > 0.5:
                warnings.warn(
                    f"Dense training of a network in which {share:.0%} of the weights are zero: those that get gradients "
                    "will not stay zero, channels that are dead stay so. Train with KeepZeros as the method to keep all of them.",
                    stacklevel=4,
                )

    def param_groups(self) -> list[dict[str, Any]]:
        """The method's own trainable parameters as optimizer groups."""
        return []

    def bind(self, optimizer: Optimizer) -> None:
        """Learns which optimizer steps the weights; called once per round and after a resume."""

    def penalty(self) -> Tensor | float:
        """A term added to the loss."""
        return 0.0

    def after_step(self, step: int, optimizer: Optimizer) -> None:
        """Called when ``step`` optimizer steps are done (counted from 1), inside the step: hooks on the optimizer belong in ``bind``."""

    def enforce(self) -> None:
        """Zeroes again what is pruned, at the end of each step: what wraps the optimizer, or the loop, may have written to it since."""

    def after_round(self, number: int) -> None:
        """Called at the end of round ``number`` (counted from 0)."""

    def finish(self) -> None:
        """Leaves the model plain, its zeros exact."""

    def undo(self) -> None:
        """Takes off whatever holds on to model and optimizer, where training broke off or ``start`` raised half way."""

    def missed(self) -> str:
        """What was asked and is not there, in a sentence; empty where all is. Asked after ``finish``, and on the way."""
        return ""

    def settled(self) -> bool:
        """Whether what is asked is there already, in the midst of training: then it may stop, and a state of now may be kept."""
        return not self.missed()

    def thresholds(self) -> dict[str, Tensor]:
        """Component to its present threshold, for the record; empty where there is none."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """All that resumption needs: tensors and plain values only."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up :meth:`state_dict`, after ``start``; weights are loaded by the caller."""


def _check_least(who: str, settings: Mapping[str, Any]) -> None:
    """Not in ``__new__``, where jsonargparse takes what is read of the settings for an argument of every method."""
    if settings.get("at_least", 0) < 0:
        raise ValueError(f"{who}: at_least is {settings['at_least']}; give 0 weights or more.")


def lacking(optimizer: Optimizer, parameters: Mapping[str, nn.Parameter], setting: str) -> str:
    """Which optimizer trains some of ``parameters`` and does not know ``setting``, in words; empty where all do.

    Its defaults are asked, of several in one those of each: a group also holds what a method asks for, known or not.
    """
    names = {id(p): name for name, p in parameters.items() if p.requires_grad}
    parts: list[Optimizer] = [*getattr(optimizer, "parts", [optimizer])]
    for part in parts:
        own = [names[id(p)] for group in part.param_groups for p in group["params"] if id(p) in names]
        if own and setting not in part.defaults:
            more = f" and {len(own) - 1} more" if own[1:] else ""
            return type(part).__name__ + (f", which trains {own[0]}{more}," if parts[1:] else "")
    return ""


def groups_of(optimizer: Optimizer, parameters: Mapping[str, nn.Parameter]) -> dict[str, dict[str, Any]]:
    """The optimizer's group of each of ``parameters`` that it has, by their names."""
    held = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    return {name: held[id(p)] for name, p in parameters.items() if id(p) in held}
