"""One training at a time on a model, and what it hangs on it meanwhile."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from itertools import chain
from operator import attrgetter, is_
from typing import Any

from torch import Tensor, nn

from secateur.problem import Problem, apart, preserved_rng, prunable, write_back
from secateur.pruning import Sparsifier, compute_once, is_effective
from secateur.storage import extra_keepers, extra_states, hand_back, short
from secateur.weighting import Weighting

_END = object()  # after the last one, so that none can be added there
_TRAINS = attrgetter("requires_grad")
_HELD = "_held_by_pruning"  # on a parameter, and on the method and the weighting; copies of a parameter do not bear it


class _Held:
    """The mark; what was pickled with it bears none."""

    def __reduce__(self) -> tuple[type[bool], tuple[()]]:
        return bool, ()


class Hold:
    """Marks the weights that a training prunes, and keeps what is to be put back if it never begins, and taken off at its end."""

    def __init__(self) -> None:
        self._parameters: dict[str, nn.Parameter] = {}
        self._parts: list[object] = []
        self._initial: list[tuple[Tensor, Tensor]] = []
        self._extra: dict[str, tuple[nn.Module, Any]] = {}
        self._seen = _Seen()

    def check(self, parameters: Mapping[str, nn.Parameter], parts: Iterable[object]) -> None:
        """Raises RuntimeError if another training holds one of them."""
        if any(_is_held(p) for p in parameters.values()):
            raise RuntimeError(
                "This model is being pruned already; leave the other Pruning first (or take it off: pruning.undo(), or prune.undo() of "
                "a callback), or give this one a copy of the model."
            )
        if used := next((part for part in parts if _is_held(part)), None):
            raise RuntimeError(
                f"This {type(used).__name__} is at work in another training; make another one for this model."
            )

    def take(self, model: nn.Module, parameters: Mapping[str, nn.Parameter], parts: Iterable[object]) -> None:
        """Marks them, and keeps what the method, and forward passes before the first step, may change of the model."""
        self._parameters, self._parts = dict(parameters), list(parts)
        self._seen = _Seen(model)
        for held in (*self._parameters.values(), *self._parts):
            setattr(held, _HELD, _Held())
        changed = [*self._parameters.values(), *model.buffers()]
        self._initial = [(tensor, tensor.detach().clone()) for tensor in changed]
        states, keepers = extra_states(model), extra_keepers(model)
        self._extra = {name: (keepers[name], state) for name, state in states.items()}

    def check_same(self, model: nn.Module) -> None:
        """Raises RuntimeError if the model's weights are other objects than those that were taken, or more of them."""
        now = dict(model.named_parameters())
        wrong = [name for name, p in self._parameters.items() if now.get(name) is not p]
        if wrong:
            raise RuntimeError(
                f"{wrong[0]} was replaced since Pruning was entered, and the method holds the old one; exchange parameters before, "
                "and load into them without assign=True."
            )
        if more := sorted(prunable(model).keys() - self._parameters.keys()):
            raise RuntimeError(
                f"{more[0]} was frozen when Pruning was entered, or not there, so it is not pruned; unfreeze and add what is to be trained before."
            )

    def look(self, model: nn.Module) -> None:
        """As :meth:`check_same`, where anything is otherwise than it was; of a thousand modules the look takes a tenth of a millisecond."""
        if not self._seen.same():
            self.check_same(model)
            self._seen = _Seen(model)  # frozen for a while, say

    def begin(self) -> None:
        """Training has begun: there is no way back to what was before."""
        self._initial, self._extra = [], {}

    def release(self) -> None:
        """Leaves nothing behind, and the model as it was if training never began; twice does no harm."""
        try:
            self._put_back()
        finally:
            for held in (*self._parameters.values(), *self._parts):
                vars(held).pop(_HELD, None)
            self._parameters, self._parts, self._initial, self._extra, self._seen = {}, [], [], {}, _Seen()

    def _put_back(self) -> None:
        for tensor, value in self._initial:
            write_back(tensor, value)
        for name, (module, state) in self._extra.items():
            try:
                hand_back(module, state)
            except Exception as error:  # the user's code raises what it likes, and what broke training off is the one to be seen
                warnings.warn(
                    f"{name} is not taken back by the module's set_extra_state ({type(error).__name__}: {short(error)}), so it stays as the "
                    "looks at the model left it; build the model anew.",
                    stacklevel=4,
                )


class _Seen:
    """Which modules and parameters a model has, and which of them are trained; a comparison takes a tenth of a microsecond for each."""

    def __init__(self, model: nn.Module | None = None) -> None:
        modules = [] if model is None else list(model.modules())
        branches = [m._modules for m in modules]  # pyright: ignore[reportPrivateUsage]
        homes = [m._parameters for m in modules if m._parameters]  # pyright: ignore[reportPrivateUsage]
        # Views, which show what is there at any time. What scripted modules have in place of a dict gives none, and they cannot be changed.
        self._views = [found.values() for found in (*branches, *homes)]
        self._of = [*self._now()]
        parameters = [p for home in homes for p in home.values() if p is not None]
        self._trained = [p for p in parameters if p.requires_grad]
        self._frozen = [p for p in parameters if not p.requires_grad]

    def _now(self) -> Iterable[Any]:
        return chain(chain.from_iterable(self._views), (_END,))

    def same(self) -> bool:
        """Whether all is as it was."""
        same = all(map(is_, self._now(), self._of))
        return same and all(map(_TRAINS, self._trained)) and not any(map(_TRAINS, self._frozen))


def check_parts(problem: object, method: object, weighting: object) -> None:
    """Raises ValueError if one of the three is something else."""
    wanted = {
        "problem": (problem, Problem),
        "method": (method, Sparsifier),
        "weighting": (weighting, Weighting),
    }
    for name, (value, kind) in wanted.items():
        if not isinstance(value, kind):
            given = value.__name__ + ", a class" if isinstance(value, type) else type(value).__name__
            raise ValueError(
                f"Pruning: {name} is {given}; give a {kind.__name__}, as in "
                "Pruning(problem, SoftThreshold(density=0.1), AdaptiveWeighting(), steps=1000)."
            )


def check_missed(method: Sparsifier) -> None:
    """Raises ValueError if the method ended without what was asked of it."""
    if missed := method.missed():
        raise ValueError(f"{type(method).__name__}: {missed}")


def _is_held(part: object) -> bool:
    return isinstance(getattr(part, "__dict__", {}).get(_HELD), _Held)


class ComputingOnce:
    """A trunk that runs once for every task's own input computes its effective weights once.

    Args:
        problem: A batch of it is looked at where the model has such weights: whether each task has an input of its own.
    """

    def __init__(self, problem: Problem) -> None:
        self._model, self._apart = problem.model, False
        if is_effective(problem.model):
            with preserved_rng():
                x, _ = next(problem.batches())
            self._apart = apart(x, problem.tasks)
        self.begin()

    def begin(self) -> None:
        """Once more, where a method may have taken its effects off and put them on again."""
        if self._apart:
            compute_once(self._model)
