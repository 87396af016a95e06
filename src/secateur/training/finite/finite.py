"""Gradients, weights and what the optimizer remembers are finite; or it is said since when not, and by which tasks."""

from __future__ import annotations

import math
import warnings
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from secateur.problem import Problem
from secateur.storage import tensors_of

_REMEDY = (
    "Lower the learning rate, clip gradients, or look for targets that give a task an infinite gradient, such as the root "
    "of a zero."
)


class Finite:
    """Watches one training.

    After each step the norm of the gradients of what the same tasks own is looked at, where they are; nothing is read back
    until :meth:`check`. The gradient of a task reaches what it owns alone and what it shares, no other task's part.

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
        # Where a network keeps infinities, such as a mask of attention, they are no fault of training.
        self._odd = {name for name, value in self._buffers().items() if not _is_finite(value)}

    @torch.no_grad()
    def look(self, step: int, optimizer: Optimizer) -> None:
        """Looks at the gradients of a step that was made."""
        if getattr(optimizer, "found_inf", None) is not None:
            return  # a gradient scaler looks itself, and the step may have been none
        if self._owned:
            norms = torch.stack([_norm(owned, self._device) for owned in self._owned.values()])
            largest = norms.max()
            self._largest = largest if self._largest is None else self._largest.maximum(largest)
            now = torch.where(norms.isfinite(), torch.inf, step)
            self._first = now if self._first is None else self._first.minimum(now)

    def check(
        self, kept: str = "", before: float = math.inf, remembered: Mapping[Any, Any] | None = None
    ) -> None:
        """Raises FloatingPointError if weights are not finite, naming tasks and step where gradients were first.

        Args:
            kept: What is safe, for the message: the last good checkpoint.
            before: Only if a gradient was bad before this step, as when a loss is known to have been bad then.
            remembered: The optimizer's state, which is to be finite too.
        """
        firsts = self._first.tolist() if self._first is not None else []
        first = min(firsts, default=math.inf)
        if math.isfinite(before) and first >= before:
            return  # the loss was bad first, and its message says more
        wrong = [n for n, p in self._model.named_parameters() if not _is_finite(p)]
        wrong += [n for n, b in self._buffers().items() if n not in self._odd and not _is_finite(b)]
        wrong += [f"{n} of the optimizer" for n, v in tensors_of(remembered or {}) if not _is_finite(v)]
        if not wrong:
            self._first = None  # a gradient that did no harm
            return
        named = f"{', '.join(wrong[:3])}{' and more' if len(wrong) > 3 else ''}"
        since = ""
        if math.isfinite(first):
            tasks = _blamed([owners for owners, at in zip(self._owned, firsts, strict=True) if at == first])
            whose = f" of task {' and '.join(map(repr, tasks))}" if tasks else ""
            since = f"; first was the gradient{whose}, at step {int(first)}"
        raise FloatingPointError(f"Weights became NaN or infinite: {named}{since}. {kept} {_REMEDY}")

    @contextmanager
    def blamed(self, optimizer: Optimizer) -> Generator[None]:
        """Around what a method does: what raises there is the fault of weights, or an optimizer's state, that are not finite."""
        try:
            yield
        except Exception:
            self.check(remembered=optimizer.state_dict()["state"])
            raise

    def end(self) -> None:
        """As :meth:`check`; warns if every gradient was zero in all steps."""
        self.check()
        if self._largest is not None and not self._largest:
            warnings.warn(
                "Every gradient was zero in all steps, so nothing was learned. Where is zero_grad() called? It comes after optimizer.step().",
                stacklevel=4,
            )

    def suspicious(self) -> bool:
        """Whether a gradient was bad since the last check; reads a few numbers."""
        return self._first is not None and bool(self._first.isfinite().any())

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
