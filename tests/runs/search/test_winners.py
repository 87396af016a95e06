"""Who wins, by what."""

from __future__ import annotations

import math

import pytest

from runs.search.searches import BETTER
from secateur.runs.search import Tried
from secateur.runs.search.found import winners
from secateur.runs.search.objectives import Objective, delta, lost, objectives


def test_who_wins() -> None:
    goals = (Objective("a", "maximize"), Objective("b", "minimize"))
    points = [(1.0, 5.0), (2.0, 6.0), (2.0, 4.0), (3.0, 4.0), (0.0, 1.0), (3.0, 4.0)]
    trials = [Tried(n, "complete", {}, values) for n, values in enumerate(points)]
    assert [t.number for t in winners(trials, goals)] == [3, 4]
    assert [t.number for t in winners([*trials, Tried(6, "fail", {})], goals)] == [3, 4]
    out = Tried(7, "complete", {}, (9.0, 0.0), {"seg": 1e-9})
    assert [t.number for t in winners([*trials, out], goals)] == [3, 4]


def test_a_dead_network_never_wins() -> None:
    goals = (Objective("a", "maximize"),)
    alive = Tried(0, "complete", {}, (1.0,), figures={"dead": []})
    dead = Tried(1, "complete", {}, (2.0,), figures={"dead": ["seg"]})
    assert [t.number for t in winners([alive, dead], goals)] == [0]
    assert not winners([dead], goals)


def test_what_objectives_are() -> None:
    made = objectives(["delta_t", "depth.abs", "time"], BETTER)
    assert [o.direction for o in made] == ["maximize", "minimize", "minimize"]
    dense, tasks = {"depth": {"abs": 2.0, "rel": 4.0}}, {"depth": {"abs": 1.0, "rel": 4.0}}
    assert delta(tasks, dense, BETTER) == pytest.approx(25.0)
    assert lost(tasks, dense, BETTER) == pytest.approx({"depth": -0.25})
    assert lost({"depth": {"abs": math.nan, "rel": 1.0}}, dense, BETTER) == {"depth": 1.0}
