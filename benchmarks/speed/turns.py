"""Trainings side by side, one step at a time in turn, so that what disturbs the machine disturbs all of them alike."""

from __future__ import annotations

import contextlib
import os
import statistics
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import torch

from secateur.problem.problem import Problem
from secateur.pruning.sparsifier import Sparsifier
from secateur.training.fit import fit

WARMUP = 3


class DoneError(Exception):
    """Enough steps."""


class Turns:
    """Lets threads run one step at a time, round and round."""

    def __init__(self, count: int) -> None:
        self.locks = [threading.Semaphore(int(who == 0)) for who in range(count)]

    def take(self, who: int) -> None:
        """Waits for the turn."""
        self.locks[who].acquire()

    def give(self, who: int) -> None:
        """Hands the turn to the next."""
        self.locks[(who + 1) % len(self.locks)].release()


def step_times(
    methods: Mapping[str, Sparsifier], problem: Callable[[], Problem], count: int, nominal: int = 1000
) -> dict[str, list[float]]:
    """Seconds of ``count`` steps of each method after a warm-up, taken in turn; each believes in ``nominal`` steps."""
    turns = Turns(len(methods))
    times: dict[str, list[float]] = {name: [] for name in methods}

    def timed(base: type[Sparsifier], who: int, name: str) -> type[Sparsifier]:
        class Timed(base):
            def start(self, problem: Problem, steps: int) -> None:
                super().start(problem, steps)
                turns.take(who)
                self.began = time.perf_counter()

            def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
                super().after_step(step, optimizer)
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                times[name].append(time.perf_counter() - self.began)
                turns.give(who)
                if step == WARMUP + count:
                    raise DoneError
                turns.take(who)
                self.began = time.perf_counter()

        return Timed

    def run(who: int, name: str, method: Sparsifier) -> None:
        method.__class__ = timed(type(method), who, name)
        try:
            with contextlib.suppress(DoneError):
                fit(problem(), method, steps=nominal, log_every=nominal)
        except BaseException:  # the others would wait for their turn for ever
            traceback.print_exc()
            os._exit(1)

    threads = [
        threading.Thread(target=run, args=(who, name, m)) for who, (name, m) in enumerate(methods.items())
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {name: found[WARMUP:] for name, found in times.items()}


def ratios(times: Mapping[str, list[float]], against: str) -> dict[str, Any]:
    """Median and quartiles of each method's steps over the steps of ``against`` beside them."""
    found: dict[str, Any] = {}
    for name, own in times.items():
        values = [t / d for t, d in zip(own, times[against], strict=True)]
        low, middle, high = statistics.quantiles(values, n=4)
        found[name] = {"median": middle, "quartiles": [low, high]}
    return found
