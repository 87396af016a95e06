"""Where a training stands, and whether a call is in its turn: loss, step of the optimizer, end of the step."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from operator import index

from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from secateur.problem import check_count
from secateur.pruning import before_step

_IDLE = 50  # steps: a gradient scaler that begins far too high has found its scale by then


@dataclass
class Turns:
    """Steps and rounds, and what has happened since the last step ended.

    Args:
        steps: Optimizer steps, a round.
        rounds: Of the method.
        accumulate: Batches to a step.
        resumes_at: Steps of a round to the step that later rounds go on from.
        done: Steps that have ended, over all rounds.
    """

    steps: int
    rounds: int
    accumulate: int = 1
    resumes_at: Callable[[int], int] = lambda steps: 0
    done: int = 0
    ready: bool = False  # there is an optimizer
    labelled: bool = False  # a loss of this step has labels, so that something is to be learned
    _asked: bool = False
    _updated: bool = False
    _early: bool = False  # a step ended before the optimizer's: skipped by a gradient scaler, or out of turn
    _broken: str = ""  # by which error the step under way broke off, after the optimizer's

    _moved: bool = False  # this optimizer has stepped with a gradient
    _idle: int = 0  # steps that ended before it did

    def __post_init__(self) -> None:
        for name in ("steps", "accumulate"):
            value = getattr(self, name)
            check_count(f"Pruning: {name}", value)
            setattr(self, name, index(value))
        self._skipped = self.resumes_at(self.steps)

    @property
    def total(self) -> int:
        """Steps over all rounds."""
        return self.steps + (self.rounds - 1) * (self.steps - self._skipped)

    @property
    def ended(self) -> int:
        """Rounds that have ended."""
        return max(0, (self.done - self._skipped) // (self.steps - self._skipped))

    @property
    def round(self) -> int:
        """The round under way, counted from 0."""
        return min(self.ended, self.rounds - 1)

    @property
    def place(self) -> int:
        """Steps of the schedule that lie behind: in the first round those that are done, later with those left out."""
        return self.done - self.ended * (self.steps - self._skipped)

    @property
    def between_rounds(self) -> bool:
        """Whether a round has ended, so that the next one, or nothing, follows."""
        return self.ended > 0 and self.place == self._skipped

    def begin(self, optimizer: Optimizer) -> RemovableHandle:
        """There is an optimizer, whose steps must have gradients; the handle of what looks for them."""
        self.ready, self._moved, self._idle = True, False, 0

        def look() -> None:
            parameters = (p for group in optimizer.param_groups for p in group["params"])
            self._moved = self._moved or any(p.grad is not None for p in parameters)

        return before_step(optimizer, look)

    def ask(self) -> None:
        """A loss is asked for."""
        self._check_whole()
        self._check_left()
        self._asked = True

    def update(self, stepped: bool) -> int:
        """The optimizer has stepped, or its step was skipped; returns which step of the round that was, counted from 1."""
        self._check_whole()
        if self._updated:
            raise RuntimeError("The optimizer stepped twice; call pruning.step() after each of its steps.")
        if self._early and not self._asked:
            raise RuntimeError("pruning.step() was called before optimizer.step(); call it after.")
        self._updated, self._early = True, False
        if stepped and self.labelled and not self._moved:
            raise RuntimeError(
                "The optimizer stepped, and no parameter that it trains has a gradient; call loss.backward() before optimizer.step(), and "
                "optimizer.zero_grad() after it."
            )
        return self.place + 1

    @contextmanager
    def breaking(self) -> Generator[None]:
        """Around what follows the optimizer's step: where that raises, the step has broken off, and there is no next one."""
        try:
            yield
        except BaseException as error:
            self._broken = type(error).__name__
            raise

    def end(self, own_loss: bool) -> bool:
        """The step ends; returns whether the optimizer's was skipped."""
        self._check_whole()
        self._check_left()
        if not self._asked and not own_loss:
            raise RuntimeError(
                "Pruning.step: there was no loss since the last step; train on pruning.loss(predictions, targets), "
                "or say step(own_loss=True)."
            )
        return not self._updated

    def next(self, skipped: bool, own_loss: bool) -> None:
        """The step has ended."""
        self.done += 1
        self._asked = self._updated = self.labelled = False
        self._early = skipped and not own_loss
        self._idle += not self._moved
        if self._idle == _IDLE or self.between_rounds:
            self.check_moved()

    def check_moved(self) -> None:
        """Raises RuntimeError if steps have ended, and the optimizer made none with a gradient."""
        if self._idle and not self._moved:
            times = "once" if self._idle == 1 else f"{self._idle} times"
            raise RuntimeError(
                f"pruning.step() was called {times}, and the optimizer that was attached never stepped with a gradient; call loss.backward() and "
                "optimizer.step() before pruning.step(), and step the one that pruning.attach() returned. If a gradient scaler skipped them "
                "all, let it begin lower: GradScaler(init_scale=...)."
            )

    def back_to(self, done: int) -> None:
        """So many steps have ended, and none is under way, whatever has happened since."""
        self.done = done
        self._asked = self._updated = self.labelled = self._early = False
        self._broken = ""

    def check_between(self) -> None:
        """Raises RuntimeError in the middle of a step, whose half could not be taken up again."""
        self._check_whole()
        if self._updated:
            raise RuntimeError(
                "The optimizer has stepped and the step has not ended; save after pruning.step()."
            )

    def check_ended(self, early: bool) -> None:
        """Raises RuntimeError if nothing was trained, or fewer steps than announced where that is not meant."""
        self.check_moved()
        if self.done < self.total and not early:
            raise RuntimeError(
                f"Pruning was left after {self.done} of {self.total} steps. The model is plain and its zeros are exact, but the "
                "method had no time to recover from them; announce the steps that are trained, Pruning(..., steps=...), "
                "or say pruning.leave(early=True) where training stops early."
            )

    def _check_whole(self) -> None:
        if self._broken:
            raise RuntimeError(
                f"Step {self.done + 1} broke off ({self._broken}), and what it left in the optimizer is still there, so there is no going on from "
                "here. Zero the gradients and load the states of model, optimizer and Pruning of a step before, by their load_state_dict. A "
                "loop that leaves bad batches out does so before loss.backward()."
            )

    def _check_left(self) -> None:
        if self.done >= self.total:
            raise RuntimeError(
                f"All {self.total} steps are done; announce as many as are trained: Pruning(..., steps=...)."
            )
        if not self.ready:
            which = f"Round {self.round + 1} of {self.rounds}" if self.rounds > 1 else "Training"
            raise RuntimeError(
                f"{which} waits for its optimizer; make one of pruning.groups() and give it to pruning.attach()."
            )
