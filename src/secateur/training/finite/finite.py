"""Losses, gradients, weights and what the optimizer remembers are finite; or it is said since when not, and by which tasks."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from secateur.problem import Problem
from secateur.pruning import before_step
from secateur.storage import tensors_of
from secateur.training.finite.first import First, numbers
from secateur.training.finite.intact import Intact

_DIVERGED = "Lower the learning rate, clip gradients, or look for"
_ROOT = "targets that give a task an infinite gradient, such as the root of a zero"


class Finite:
    """Watches one training.

    Before each step the norm of the gradients of what the same tasks own is looked at, where they are; on a GPU nothing is read
    back until :meth:`check`. The gradient of a task reaches what it owns alone and what it shares, no other task's part.

    Args:
        problem: Model, and who owns its parameters.
    """

    def __init__(self, problem: Problem) -> None:
        self._model = problem.model
        owned: dict[frozenset[str], list[Tensor]] = {}
        for name, parameter in problem.model.named_parameters():
            if parameter.requires_grad:
                owned.setdefault(problem.owners.get(name, frozenset()), []).append(parameter)
        self._owned = owned
        self._device = next((p.device for p in problem.model.parameters()), torch.device("cpu"))
        self._first: Tensor | None = None
        self._largest: Tensor | None = None
        self._losses, self._inputs, self._intact = First(), First(), cast("Intact | None", None)
        self._done: Callable[[], int] = int  # steps that have ended
        self.kept: Callable[[], str] = str  # what is safe, for messages: the last good checkpoint
        # Where a network keeps infinities, such as a mask of attention, they are no fault of training.
        self._odd = {name for name, value in self._buffers().items() if not _is_finite(value)}

    def bind(self, optimizer: Optimizer, done: Callable[[], int]) -> RemovableHandle:
        """Looks at the gradients of each step of ``optimizer`` before it; the handle of what does."""
        self._done = done
        self._intact = Intact(self._model) if self._on_host() else None
        return before_step(optimizer, lambda: self._look(optimizer))

    def renew(self) -> None:
        """The network is another one now, such as that of a checkpoint."""
        if self._intact is not None:
            self._intact.go_on()

    @torch.no_grad()
    def saw(self, losses: Mapping[str, Tensor], x: Any = None) -> None:
        """Looks at the losses of a batch, and at its input where it is known."""
        step = self._done() + 1
        for task, loss in losses.items():
            self._losses.look(task, loss.detach(), step)
        for part in numbers(x):
            self._inputs.look("x", part.sum(dtype=torch.promote_types(part.dtype, torch.float32)), step)

    @torch.no_grad()
    def _look(self, optimizer: Optimizer) -> None:
        if getattr(optimizer, "found_inf", None) is not None:
            return  # a gradient scaler looks itself, and the step may be none
        if self._owned:
            norms = torch.stack([_norm(owned, self._device) for owned in self._owned.values()])
            largest = norms.max()
            self._largest = largest if self._largest is None else self._largest.maximum(largest)
            now = torch.where(norms.isfinite(), torch.inf, self._done() + 1)
            self._first = now if self._first is None else self._first.minimum(now)
            if self._intact is not None and not self._intact.held and not math.isfinite(largest):
                self._intact.hold()

    def check(self, remembered: Mapping[Any, Any] | None = None) -> None:
        """Raises FloatingPointError if weights are not finite, naming tasks and the step where a loss or a gradient was first.

        Args:
            remembered: The optimizer's state, which is to be finite too.
        """
        wrong = self._wrong()
        wrong += [f"{n} of the optimizer" for n, v in tensors_of(remembered or {}) if not _is_finite(v)]
        if wrong:
            raise FloatingPointError(self._said(wrong))
        self._first = None  # a gradient that did no harm

    def check_row(self, optimizer: Optimizer, saves: bool) -> None:
        """As :meth:`check`, where there is cause or the network is to be saved; and raises if a loss was not finite, harm or none."""
        if saves or (self._first is not None and bool(self._first.isfinite().any())):
            self.check(optimizer.state_dict()["state"])
        if self._losses.steps():
            raise FloatingPointError(self._said(self._wrong()))

    @contextmanager
    def stepped(self, optimizer: Optimizer) -> Generator[None]:
        """Around what a method does after a step: what raises there is the fault of what is not finite in weights or the optimizer's state.

        Raises:
            FloatingPointError: If the step spoilt the network; where it was seen before, the network is put back first.
        """
        if self._intact is not None:
            if self._intact.held and self._wrong():
                self._intact.put_back()
                raise FloatingPointError(self._said(self._wrong()))
            self._intact.go_on()
        try:
            yield
        except Exception:
            self.check(optimizer.state_dict()["state"])
            raise

    def end(self) -> None:
        """As :meth:`check`; warns if every gradient was zero in all steps."""
        self.check()
        if self._largest is not None and not self._largest:
            warnings.warn(
                "Every gradient was zero in all steps, so nothing was learned. Where is zero_grad() called? It comes after optimizer.step().",
                stacklevel=4,
            )

    def _on_host(self) -> bool:
        """Whether all of the network is where a value is read for nothing."""
        tensors = [*self._model.parameters(), *self._model.buffers()]
        return all(tensor.device.type == "cpu" for tensor in tensors)

    def _wrong(self) -> list[str]:
        """What of the network is not finite."""
        wrong = [n for n, p in self._model.named_parameters() if not _is_finite(p)]
        return wrong + [n for n, b in self._buffers().items() if n not in self._odd and not _is_finite(b)]

    def _said(self, wrong: list[str]) -> str:
        """What happened first, what is left of the network, and what to do."""
        firsts = self._first.tolist() if self._first is not None else []
        first, losses = min(firsts, default=math.inf), self._losses.steps()
        began = min(losses.values(), default=math.inf)
        named = f"{', '.join(wrong[:3])}{' and more' if len(wrong) > 3 else ''}"
        if losses and began <= first:
            tasks = " and ".join(repr(task) for task, at in losses.items() if at == began)  # others follow
            what = f"The loss of task {tasks} became NaN or infinite at step {int(began)}; training stopped."
            remedy = "Lower the learning rate, or look for invalid targets of that task"
        elif math.isfinite(first):
            tasks = _blamed([owners for owners, at in zip(self._owned, firsts, strict=True) if at == first])
            whose = f" of task {' and '.join(map(repr, tasks))}" if tasks else ""
            what = f"Weights became NaN or infinite: {named}; first was the gradient{whose}, at step {int(first)}."
            if not wrong:
                what = f"The gradient{whose} became NaN or infinite at step {int(first)}; training stopped."
            remedy = f"{_DIVERGED} {_ROOT}"
        else:
            what, remedy = f"Weights became NaN or infinite: {named}.", f"{_DIVERGED} {_ROOT}"
        step = min(began, first)
        if (since := self._inputs.steps().get("x", math.inf)) <= step and math.isfinite(since):
            what += f" The input of step {int(since)} holds NaN or infinity."
            remedy = "Look at the data, and at what is made of them before the model"
        elif not self._inputs:
            remedy += ", or inputs that are NaN or infinite"
        lost = "" if wrong else "The model is as it was before that step."
        if any("of the optimizer" not in name for name in wrong):
            lost = "The weights that the model had are lost; load or build them anew."
        return " ".join(part for part in (what, lost, self.kept(), f"{remedy}.") if part)

    def _buffers(self) -> dict[str, Tensor]:
        return dict(self._model.named_buffers())


def _blamed(owners: Iterable[frozenset[str]]) -> list[str]:
    """Tasks that can have spoilt parts with these owners: those of parts with one owner, else all that reach."""
    parts = list(owners)
    alone = {task for part in parts if len(part) == 1 for task in part}
    return sorted(alone or frozenset[str]().union(*parts))


def _norm(parameters: list[Tensor], device: torch.device) -> Tensor:
    """Of their gradients; finite only if all of them are."""
    found = [p.grad for p in parameters if p.grad is not None]
    dense = [g.coalesce().values() if g.is_sparse else g for g in found]
    return nn.utils.get_total_norm(dense).to(device, torch.float32)  # five times faster than the largest


def _is_finite(value: Tensor) -> bool:
    numbers = value.is_floating_point() or value.is_complex()
    return not numbers or bool(torch.isfinite(value).all())
