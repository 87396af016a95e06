"""Whatever goes back to earlier weights goes back to what ``get_extra_state`` gave with them."""

from __future__ import annotations

import threading
from copy import deepcopy
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from loops.judged import StopAt, judged
from problems import TwoHeads, equal
from secateur import (
    EMA,
    Callback,
    GradualMagnitude,
    KeepBest,
    LotteryTicket,
    Problem,
    Sparsifier,
    evaluate,
    fit,
)
from secateur.storage import named_tensors
from secateur.training import Course
from secateur.training.callbacks.callbacks import CallbackError


class Fitted(TwoHeads):
    """Counts what it sees in training: in a number, in a list and in a tensor that are handed out as they are."""

    def __init__(self, written: bool = False) -> None:
        super().__init__(8)
        self.scale, self.seen, self.total = 1.0, list[Any](), torch.ones(2)
        self.beside: Any = torch.nn.ModuleList([Locked(), Placed(), *([] if written else [Giving()])])

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        if self.training:
            self.scale *= 1.5
            self.seen.append((len(self.seen), {"of": x.shape[0]}))
            self.total.mul_(1.1)
            self.beside[1].place = Path(str(len(self.seen)))
        return {task: found * self.scale for task, found in super().forward(x).items()}

    def get_extra_state(self) -> Any:
        return {"scale": self.scale, "seen": self.seen, "total": self.total}

    def set_extra_state(self, state: Any) -> None:
        self.scale, self.seen, self.total = state["scale"], state["seen"], state["total"]


class Locked(torch.nn.Module):
    """What it keeps cannot be copied."""

    def get_extra_state(self) -> Any:
        return threading.Lock()


class Giving(torch.nn.Module):
    """It takes nothing back."""

    def get_extra_state(self) -> Any:
        return 1


class Placed(torch.nn.Module):
    """What it keeps can be copied, and no file holds it."""

    place = Path("a")

    def get_extra_state(self) -> Any:
        return self.place

    def set_extra_state(self, state: Any) -> None:
        self.place = state


def fitted(*, written: bool = False) -> Problem:
    torch.manual_seed(0)
    like = judged()
    return Problem(Fitted(written), like.tasks, like.train, like.val, like.test)


def kept(problem: Problem) -> dict[str, Any]:
    model: Any = problem.model
    return deepcopy(model.get_extra_state() | {"total": model.total.tolist(), "place": model.beside[1].place})


class Watch(Callback):
    """What the model keeps after each step; copies of it, such as those of floors, write in one list."""

    decides = False
    states: list[tuple[int, dict[str, Any]]]

    def __init__(self) -> None:
        type(self).states = []

    def after_step(self, course: Course, losses: object) -> None:
        self.states.append((course.step, kept(course.problem)))


def tensors(problem: Problem) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in named_tensors(problem.model).items()}


@pytest.mark.parametrize("average", [False, True])
def test_the_best_state(scores: list[float], average: bool) -> None:
    scores += [0.5, 0.9, 0.6, 0.7]
    problem, keep, watch = fitted(), KeepBest("colour.accuracy"), Watch()
    callbacks = [watch, keep, *([EMA(0.5)] if average else [])]
    fit(problem, steps=8, validate_every=2, callbacks=callbacks, progress=False)
    assert kept(problem) == dict(watch.states)[4]


def test_the_best_state_scores_what_is_said() -> None:
    problem, keep = fitted(), KeepBest("shade.error")
    fit(problem, steps=8, validate_every=1, callbacks=[keep], progress=False)
    assert keep.step is not None
    assert keep.step < 8
    assert evaluate(problem, "val")["shade"]["error"] == pytest.approx(keep.value, rel=1e-5)


@pytest.mark.filterwarnings("ignore:fit. beside.*of the model is neither")
def test_the_best_state_of_a_run_that_was_stopped(scores: list[float], tmp_path: Path) -> None:
    found = []
    for stops in ([], [StopAt(6)]):
        scores[:] = [0.5, 0.9, 0.6, 0.7]
        problem, path = fitted(written=True), tmp_path / f"{len(stops)}.pt"
        settings: Any = {
            "steps": 8,
            "validate_every": 2,
            "checkpoint": path,
            "checkpoint_every": 2,
            "progress": False,
        }
        if stops:
            with pytest.raises(CallbackError):
                fit(problem, callbacks=[KeepBest("colour.accuracy"), *stops], **settings)
            problem = fitted(written=True)
        fit(problem, callbacks=[KeepBest("colour.accuracy")], **settings)
        found.append((kept(problem), tensors(problem)))
    assert found[0][0] | {"place": None} == found[1][0] | {"place": None}
    assert equal(found[0][1], found[1][1])


def test_an_average_leaves_that_of_the_last_step() -> None:
    problem, watch = fitted(), Watch()
    fit(problem, steps=5, validate_every=2, callbacks=[watch, EMA(0.5)], progress=False)
    assert kept(problem) == watch.states[-1][1]


def test_attempts_under_floors(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = iter([0.5, 0.0, 0.5])
    floors = import_module("secateur.training.floors")
    monkeypatch.setattr(floors, "shares_lost", lambda *_: dict.fromkeys(("colour", "shade"), next(lost)))
    problem, watch = fitted(), Watch()
    _ = problem.owners
    history = fit(
        problem, GradualMagnitude(density=0.3), steps=4, floors={"shade": 0.1}, tries=3, callbacks=[watch], progress=False
    )  # fmt: skip
    assert [bool(a.stopped_by) for a in history.attempts] == [True, False, True]
    firsts = [state for step, state in watch.states if step == 1]
    lasts = [state for step, state in watch.states if step == 4]
    assert len(firsts) == 4  # dense, and three
    assert all(state == firsts[0] for state in firsts)
    assert kept(problem) == lasts[2]


class Rounds(LotteryTicket):
    def start(self, problem: Problem, steps: int) -> None:
        super().start(problem, steps)
        self.before, self.after = kept(problem), list[dict[str, Any]]()

    def after_round(self, number: int) -> None:
        super().after_round(number)
        self.after.append(kept(self.problem))


@pytest.mark.parametrize("rewind", [0.0, 0.4])
def test_lottery_tickets(rewind: float) -> None:
    problem, method, watch = fitted(), Rounds(0.3, rounds=3, rewind=rewind), Watch()
    fit(problem, method, steps=5, callbacks=[watch], progress=False)
    origin = method.before if not rewind else watch.states[1][1]
    assert method.after[:2] == [origin, origin]
    assert kept(problem) == watch.states[-1][1]


@pytest.mark.filterwarnings("ignore:fit. beside.*of the model is neither")
def test_lottery_tickets_of_a_run_that_was_stopped(tmp_path: Path) -> None:
    straight, stopped = fitted(written=True), fitted(written=True)
    settings: Any = {"steps": 5, "checkpoint_every": 1, "progress": False}
    fit(straight, LotteryTicket(0.3, rounds=3, rewind=0.4), checkpoint=tmp_path / "a.pt", **settings)
    with pytest.raises(CallbackError):
        fit(
            stopped, LotteryTicket(0.3, rounds=3, rewind=0.4), checkpoint=tmp_path / "b.pt", callbacks=[StopAt(4)], **settings
        )  # fmt: skip
    again = fitted(written=True)
    fit(again, LotteryTicket(0.3, rounds=3, rewind=0.4), checkpoint=tmp_path / "b.pt", **settings)
    assert kept(again) | {"place": None} == kept(straight) | {"place": None}
    assert equal(tensors(again), tensors(straight))


@pytest.mark.parametrize("at", [1, 3])
def test_a_step_that_is_taken_back(at: int) -> None:
    problem, watch = fitted(), Watch()
    data = [(x * torch.nan if k == at else x, t) for k, (x, t) in enumerate(problem.train, 1)]
    problem = Problem(problem.model, problem.tasks, data)
    _ = problem.owners
    before = kept(problem)
    with pytest.raises(FloatingPointError, match="as it was before that step"):
        fit(problem, steps=5, callbacks=[watch], progress=False)
    assert kept(problem) == (watch.states[-1][1] if at > 1 else before)


class Refusing(Sparsifier):
    def start(self, problem: Problem, steps: int) -> None:
        problem.predict(*next(problem.batches()))
        raise ValueError("no")


def test_a_training_that_never_began() -> None:
    problem = fitted()
    _ = problem.owners
    before = kept(problem)
    with pytest.raises(ValueError, match="no"):
        fit(problem, Refusing(), steps=5, progress=False)
    assert kept(problem) == before
