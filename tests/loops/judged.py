"""Two tasks with a metric each, and what watches a training on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from problems import two_heads
from secateur import Callback, Problem, Task, components, density
from secateur.measures.metrics import MeanOf
from secateur.training import Course


class Stop(Exception):
    pass


class StopAt(Callback):
    """Raises after a step."""

    decides = False
    turn = 9

    def __init__(self, step: int) -> None:
        self.step = step

    def after_step(self, course: Course, losses: Any) -> None:
        if course.step == self.step:
            raise Stop


def error(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (prediction - target).abs().mean()


def accuracy(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (prediction.argmax(1) == target).float().mean()


def judged(seed: int = 0) -> Problem:
    """Two heads with a metric each, one of which is better when it is lower."""
    made = two_heads(seed)
    tasks = {
        "colour": Task(made.tasks["colour"].loss, {"accuracy": MeanOf(accuracy, higher_is_better=True)}),
        "shade": Task(made.tasks["shade"].loss, {"error": MeanOf(error, higher_is_better=False)}),
    }
    return Problem(made.model, tasks, made.train, made.val, made.test)


def left(problem: Problem) -> float:
    return density(problem.model, components(problem)).overall


class Scripted(Callback):
    """Writes down what it is told; replaces metrics by a script where one is given."""

    decides = False

    def __init__(self, said: list[str] | None = None) -> None:
        self.said = [] if said is None else said

    def start(self, course: Course) -> None:
        self.said.append("start")

    def before_step(self, course: Course) -> None:
        assert any(p.grad is not None for p in course.problem.model.parameters())
        self.said.append("before")

    def after_step(self, course: Course, losses: Mapping[str, Any]) -> None:
        assert losses.keys() == {"colour", "shade"}
        self.said.append(f"step {course.step}")

    def validated(self, course: Course, metrics: Mapping[str, Any]) -> None:
        assert metrics["shade"]["error"] > 0
        self.said.append("validated")

    def finish(self, course: Course) -> None:
        self.said.append("finish")

    def end(self, course: Course) -> None:
        self.said.append("end")

    def failed(self, course: Course, error: BaseException) -> None:
        self.said.append(f"failed {type(error).__name__}")
