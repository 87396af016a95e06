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

from secateur.problem import Problem, tensor_parts
from secateur.pruning import before_step
from secateur.storage import is_finite, tensors_of
from secateur.training.finite.entered import Entered
from secateur.training.finite.first import First, numbers
from secateur.training.finite.intact import Intact
from secateur.training.finite.looks import has_nan, has_norm, is_high, norm, statistics
from secateur.training.finite.said import Part, Seen, Wrong, back_again, left


class Finite:
    """Watches one training.

    Before each step the norm of the gradients of what the same tasks own is looked at, where they are; on a GPU nothing is read
    back until :meth:`check`. The gradient of a task reaches what it owns alone and what it shares, no other task's part. On a processor
    losses and buffers are looked at too, and a step that they or the gradients spoil is taken back. A buffer is at fault where NaN came
    into it, or infinity into statistics of a normalisation: masks and running minima are infinite rightly.

    Args:
        problem: Model, and who owns its parameters.
    """

    def __init__(self, problem: Problem) -> None:
        self._model = problem.model
        owned: dict[frozenset[str], list[Tensor]] = {}
        for name, parameter in problem.model.named_parameters():
            if parameter.requires_grad:
                owned.setdefault(problem.owners.get(name, frozenset()), []).append(parameter)
        self._parts = [Part(owners, tensors) for owners, tensors in owned.items()]
        self._device = next((p.device for p in problem.model.parameters()), torch.device("cpu"))
        self._first: Tensor | None = None
        self._largest: Tensor | None = None
        self._losses, self._inputs, self._intact = First(), First(), cast("Intact | None", None)
        self._entered = Entered(self._dropped)
        self._skipped = False  # by a gradient scaler, within the optimizer
        self._done: Callable[[], int] = int  # steps that have ended
        self.kept: Callable[[], str] = str  # what is safe, for messages: the last good checkpoint
        odd = {name: value for name, value in self._buffers().items() if not is_finite(value)}
        self._odd, self._nan = set(odd), {name for name, value in odd.items() if has_nan(value)}

    def watch(self, parts: Iterable[Any]) -> list[dict[str, Any]]:
        """Looks at what method and weighting train, too; returns their parameter groups."""
        groups = [(type(part).__name__, group) for part in parts for group in part.param_groups()]
        own = set(map(id, self._model.parameters()))
        for name, group in groups:
            if beside := [p for p in group["params"] if id(p) not in own]:
                self._parts.append(Part(frozenset(), beside, name))
        return [group for _, group in groups]

    def bind(self, optimizer: Optimizer, done: Callable[[], int]) -> RemovableHandle:
        """Looks at the gradients of each step of ``optimizer`` before it; the handle of what does."""
        self._done = done
        beside = [tensor for _, tensor in self._beside()]
        self._intact = Intact(self._model, beside) if self._on_host() else None
        return before_step(optimizer, lambda: self._look(optimizer), begin=self._begin)

    def renew(self) -> None:
        """The network is another one now, such as that of a checkpoint; what happened to the last one is forgotten."""
        self._losses, self._first, self._skipped = First(), None, False
        self._inputs.forget()
        self._entered.clear()
        if self._intact is not None:
            self._intact.go_on()

    @torch.no_grad()
    def saw(self, losses: Mapping[str, Tensor], x: Any = None) -> None:
        """Looks at the input of a batch, where it is known, and at its losses once they have a backward pass."""
        self._entered.watch(losses)
        for part in numbers(x):
            total = part.sum(dtype=torch.promote_types(part.dtype, torch.float32))
            self._inputs.look("x", total, self._done() + 1)

    def say_waiting(self) -> None:
        """Warns where gradients of batches wait for the optimizer's step, as in the middle of an accumulation."""
        batches = len(list(self._entered))
        found = [p.grad for part in self._parts for p in part.tensors if batches and p.grad is not None]
        if any(bool(tensor_parts(gradient)[0].any()) for gradient in found):
            warnings.warn(
                f"pruning.state_dict(): gradients of {batches} batch{'es' if batches > 1 else ''} wait for the optimizer's step, and no state "
                "holds them, so what is resumed from it will not go on bit for bit; save after pruning.step().",
                stacklevel=5,
            )

    def _begin(self) -> None:
        if self._intact is not None:
            self._intact.keep()

    def _judge(self) -> None:
        """Looks at the batches of the step under way."""
        for batch in self._entered:
            for task, loss in batch.losses.items():
                self._losses.look(task, loss, self._done() + 1)
        self._entered.clear()

    @torch.no_grad()
    def _dropped(self) -> bool:
        """Whether no gradients are there, as after ``zero_grad``; on a GPU only if that took them away."""
        found = [p.grad for part in self._parts for p in part.tensors if p.grad is not None]
        if not found or self._intact is None:
            return not found
        wild = any(not is_finite(loss) for batch in self._entered for loss in batch.losses.values())
        return wild and not any(bool(tensor_parts(gradient)[0].any()) for gradient in found)

    @torch.no_grad()
    def _look(self, optimizer: Optimizer) -> None:
        self._judge()
        found, bad = getattr(optimizer, "found_inf", None), False
        if (
            self._parts and found is None
        ):  # otherwise a gradient scaler looks itself, and the step may be none
            norms = torch.stack([norm(part.tensors, self._device) for part in self._parts])
            largest = norms.max()
            self._largest = largest if self._largest is None else self._largest.maximum(largest)
            now = torch.where(norms.isfinite(), torch.inf, self._done() + 1)
            self._first = now if self._first is None else self._first.minimum(now)
            bad = self._intact is not None and not math.isfinite(largest)
        if self._intact is not None:
            self._skipped = found is not None and bool(found)
            bad = bad or bool(self._losses.steps() or self._faults(self._intact.suspects()))
            if bad and not self._intact.held:
                self._intact.hold()

    def check(self, remembered: Mapping[Any, Any] | None = None) -> None:
        """Raises FloatingPointError if weights are not finite, naming tasks and the step where a loss or a gradient was first.

        Args:
            remembered: The optimizer's state, which is to be finite too.
        """
        if wrong := self._wrong(remembered or {}):
            raise FloatingPointError(self._said(wrong))
        self._first = None  # a gradient that did no harm

    def check_row(self, optimizer: Optimizer, saves: bool) -> None:
        """As :meth:`check`, where there is cause or the network is to be saved; and raises if a loss was not finite, harm or none."""
        cause = self._first is not None and bool(self._first.isfinite().any())
        if saves or cause or self._has_faults():
            self.check(optimizer.state_dict()["state"])
        if self._losses.steps():
            raise FloatingPointError(self._said(self._wrong()))

    @contextmanager
    def stepped(self, optimizer: Optimizer, stepped: bool = True) -> Generator[None]:
        """Around what a method does after a step: what raises there is the fault of what is not finite in weights or the optimizer's state.

        Args:
            optimizer: It has stepped.
            stepped: It has not, where this is False: a gradient scaler left the step out.

        Raises:
            FloatingPointError: If the step spoilt the network or a loss was not finite; where it was seen before, all is put back first.
        """
        if self._intact is not None:
            self._check_step(self._intact, stepped)
        elif not stepped:
            self._entered.clear()
        try:
            yield
        except Exception:
            self.check(optimizer.state_dict()["state"])
            raise

    def _check_step(self, intact: Intact, stepped: bool) -> None:
        self._judge()
        skipped, self._skipped = self._skipped or not stepped, False
        looks = intact.held or (not stepped and bool(self._faults(intact.suspects())))
        wrong = self._wrong() if looks else Wrong()
        if wrong or (looks and not skipped and self._losses.steps()):
            intact.put_back()
            raise FloatingPointError(self._said(wrong, back=True))
        if skipped:
            self._losses = First()  # which a scaler that is too large makes infinite
        self._inputs.forget()  # they did no harm
        intact.go_on()

    def end(self) -> None:
        """As :meth:`check`; warns if every gradient was zero in all steps, and of buffers that training left at plus infinity."""
        self.check()
        if grown := [n for n, b in self._buffers().items() if n not in self._odd and is_high(b)]:
            warnings.warn(
                f"{', '.join(grown[:3])} of the model became infinite in training, and losses and gradients did not. If these are no minima "
                "that wait for values, look for numbers in the data that are far too large.",
                stacklevel=4,
            )
        if self._largest is not None and not self._largest:
            warnings.warn(
                "Every gradient was zero in all steps, so nothing was learned. Where is zero_grad() called? It comes after optimizer.step().",
                stacklevel=4,
            )

    def _on_host(self) -> bool:
        """Whether all that is trained is where a value is read for nothing."""
        beside = [tensor for _, tensor in self._beside()]
        tensors = [*self._model.parameters(), *self._model.buffers(), *beside]
        return all(tensor.device.type == "cpu" for tensor in tensors)

    def _wrong(self, remembered: Mapping[Any, Any] | None = None) -> Wrong:
        """What of the network, of what is trained beside it, and of the optimizer's state is not finite."""
        weights = [*self._model.named_parameters(), *self._beside()]
        return Wrong(
            [n for n, p in weights if not is_finite(p)],
            self._faults(self._buffers()),
            [f"{n} of the optimizer" for n, v in tensors_of(remembered or {}) if not is_finite(v)],
        )

    def _faults(self, buffers: Mapping[str, Tensor]) -> list[str]:
        """Which of ``buffers`` hold what they never should: NaN, if they held none before training, or infinite statistics."""
        bad = {n: b for n, b in buffers.items() if n not in self._nan and not is_finite(b)}
        kept = statistics(self._model) - self._odd if bad else set[str]()
        return [n for n, b in bad.items() if n in kept or has_nan(b)]

    def _has_faults(self) -> bool:
        """Whether any buffer does: in one look at all, where that is enough."""
        found = [tensor_parts(b)[0] for n, b in self._buffers().items() if n not in self._odd]
        whole = nn.utils.get_total_norm([part for part in found if has_norm(part)], math.inf)
        return not math.isfinite(whole) and bool(self._faults(self._buffers()))

    def _said(self, wrong: Wrong, *, back: bool = False) -> str:
        """What happened first, what is left of the network, and what to do."""
        firsts = self._first.tolist() if self._first is not None else [math.inf] * len(self._parts)
        inputs = self._inputs.steps().get("x", math.inf) if self._inputs else None
        seen = Seen(self._losses.steps(), list(zip(self._parts, firsts, strict=True)), inputs)
        done, still = self._done(), self._wrong() if back else wrong
        what, remedy = seen.said(wrong, still, f"at step {done + 1}" if back else f"by step {done}")
        lost = back_again(self._intact.lost) if back and not still and self._intact else left(still, done)
        return " ".join(part for part in (what, lost, self.kept(), f"{remedy}.") if part)

    def _beside(self) -> list[tuple[str, Tensor]]:
        """What is trained beside the network, with whose it is."""
        return [(f"a parameter of {part.of}", p) for part in self._parts if part.of for p in part.tensors]

    def _buffers(self) -> dict[str, Tensor]:
        return dict(self._model.named_buffers())
