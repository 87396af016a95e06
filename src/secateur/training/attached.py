"""The optimizer whose steps are a training's, and what hangs on it meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch.optim import Optimizer

from secateur.training.turns import Turns


class AfterStep:
    """Calls ``act`` once after each step, also where a class's own ``step`` calls that of its parent and hooks run twice."""

    def __init__(self, optimizer: Optimizer, act: Callable[[], object]) -> None:
        self._depth = 0

        def begin(*_: object) -> None:
            self._depth += 1

        def end(*_: object) -> None:
            self._depth -= 1
            if self._depth <= 0:
                self._depth = 0
                act()

        self._handles = [optimizer.register_step_pre_hook(begin), optimizer.register_step_post_hook(end)]

    def reset(self) -> None:
        """No step is under way, however the last one ended."""
        self._depth = 0

    def remove(self) -> None:
        """Stops."""
        for handle in self._handles:
            handle.remove()


class Attached:
    """One optimizer at a time; what hung on the last one, which may be the same, is taken off.

    Args:
        turns: Where the training stands; it waits for an optimizer where there is none.
    """

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.optimizer: Optimizer | None = None
        self._hooks: list[Any] = []
        self._after: AfterStep | None = None

    def take(self, optimizer: Optimizer, hooks: Iterable[Any], act: Callable[[], object]) -> None:
        """Takes an optimizer and the handles of hooks on it; ``act`` is called after each of its steps."""
        self.optimizer, self._hooks, self._after = optimizer, list(hooks), AfterStep(optimizer, act)

    def reset(self) -> None:
        """No step is under way, however the last one ended."""
        if self._after is not None:
            self._after.reset()

    def release(self) -> None:
        """There is none; twice does no harm."""
        for hook in [*self._hooks, *([self._after] if self._after is not None else [])]:
            hook.remove()
        self.optimizer, self._hooks, self._after = None, [], None
        self._turns.ready = False
