"""A budget is met as measured, the user's network stays as it was, and what cannot be had is said."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import secateur
from problems import TwoHeads, equal, two_heads, weights
from secateur import Budget, compaction, evaluate, load, prune, save
from secateur.budget import BudgetError, prune_family, record_of, repair
from secateur.budget.limits import Kind
from secateur.budget.measured import Costing
from secateur.measures import count_macs
from secateur.measures.metrics import MeanOf
from secateur.training import recalibrate

QUICK = {"batches": 2, "progress": False}


def macs(model: nn.Module) -> int:
    return sum(count_macs(model, torch.zeros(1, 3, 8, 8)).values())


@pytest.mark.parametrize("steps", [0, 6])
@pytest.mark.parametrize(
    ("kind", "count"), [("macs", macs), ("params", lambda m: sum(p.numel() for p in m.parameters()))]
)
def test_the_rest_is_met_exactly_and_nearly(kind: str, count, steps: int) -> None:
    problem = two_heads()
    problem.model.train(steps == 0)
    before, dense, state = weights(problem), count(problem.model), torch.get_rng_state()
    small = prune(problem, Budget(**{kind: 0.5}), steps=steps, **QUICK)
    assert 0.45 * dense < count(small) <= 0.5 * dense
    assert equal(before, weights(problem))
    assert torch.equal(state, torch.get_rng_state())
    assert {m.training for found in (problem.model, small) for m in found.modules()} == {steps == 0}
    assert isinstance(small, TwoHeads)
    made = record_of(small)
    assert made is not None
    assert made.costs == {kind: count(small)}
    assert made.limits == {kind: 0.5 * dense}


def test_it_is_saved_and_loaded_into_the_users_class(tmp_path: Path) -> None:
    problem = two_heads()
    small = prune(problem, Budget(macs=0.5), steps=2, **QUICK)
    save(small, tmp_path / "small.safetensors")
    other = load(TwoHeads(), tmp_path / "small.safetensors")
    x = torch.randn(2, 3, 8, 8)
    for task, expected in small.eval()(x).items():
        assert torch.equal(other.eval()(x)[task], expected)


def test_a_family_in_one_run() -> None:
    problem = two_heads()
    found = prune_family(problem, [Budget(macs=share) for share in (0.7, 0.4)], steps=2, **QUICK)
    first, second = (compaction(small).kept["trunk.0.weight"].get(0, range(16)) for small in found)  # pyright: ignore[reportOptionalMemberAccess]
    assert set(second) < set(first)  # what is gone stays gone
    assert macs(found[1]) <= 0.4 * macs(problem.model) < macs(found[0])
    with pytest.raises(ValueError, match="limit the same"):
        prune_family(problem, [Budget(macs=0.5), Budget(params=0.5)], **QUICK)


def test_several_limits_hold_at_once(tmp_path: Path) -> None:
    problem = two_heads()
    small = prune(problem, Budget(macs=0.6, mb="0.8x", engine="torch"), steps=0, **QUICK)
    made = record_of(small)
    assert made is not None
    assert all(made.costs[kind] <= made.limits[kind] for kind in ("macs", "mb"))


@pytest.mark.parametrize(
    ("ms", "foreseen"), [(lambda macs: 10.0 + macs / 1000, True), (lambda macs: 10.0 + macs**0.5, False)]
)
def test_time_is_met_as_measured_although_predicted_wrongly(
    monkeypatch: pytest.MonkeyPatch, ms: Callable[[int], float], foreseen: bool
) -> None:
    """With clocks that count multiply-accumulates; what is had whatever is computed is known from the smallest network."""

    def clock(_: Costing, model: nn.Module, *__: object) -> dict[Kind, float]:
        return {"ms": ms(macs(model))}

    monkeypatch.setattr(Costing, "measure", clock)
    problem = two_heads()
    dense = ms(macs(problem.model))
    small = prune(problem, Budget(ms="0.5x", engine="torch"), steps=0, **QUICK)
    assert 0.95 * 0.5 * dense < ms(macs(small)) <= 1.05 * 0.5 * dense
    made = record_of(small)
    assert made is not None
    assert (made.first["ms"] <= 1.01 * made.predicted["ms"]) == foreseen


def test_what_no_network_of_this_shape_can_meet_is_said() -> None:
    with pytest.raises(
        BudgetError,
        match=r"smallest network that prune makes of this shape has .* macs, and 10 macs are asked",
    ):
        prune(two_heads(), Budget(macs="10"), steps=0, **QUICK)


def test_a_floor_that_breaks_is_taken_back_and_said() -> None:
    problem = two_heads()
    from torchmetrics import MeanAbsoluteError

    tasks = {
        name: replace(task, metrics={"l1": MeanAbsoluteError()} if name == "shade" else {})
        for name, task in problem.tasks.items()
    }
    problem = replace(problem, tasks=tasks)
    before = weights(problem)
    moves = MeanOf(
        lambda prediction, _: prediction.std(), higher_is_better=True
    )  # less so with channels gone
    one = {**tasks, "shade": replace(tasks["shade"], metrics={"moves": moves})}
    said = r"shade loses .* \(at most 0%\).*, however the channels were chosen; the floors held at"
    with pytest.raises(BudgetError, match=said):
        prune(
            replace(problem, tasks=one), Budget(macs=0.2), floors={"shade": 0.0}, steps=0, repair=0, **QUICK
        )
    assert equal(before, weights(problem))
    both = {name: replace(task, metrics={"moves": moves}) for name, task in tasks.items()}
    none = dict.fromkeys(both, 0.0)
    with pytest.raises(BudgetError, match=r"shade loses .*, and so did every other task; the floors held at"):
        prune(replace(problem, tasks=both), Budget(macs=0.2), floors=none, steps=0, repair=0, **QUICK)
    small = prune(problem, Budget(macs=0.5), floors={"shade": 0.99}, steps=2, **QUICK)
    made = record_of(small)
    assert made is not None
    assert made.lost["shade"] <= 0.99
    reference, found = (
        evaluate(replace(problem, model=m), "val")["shade"]["l1"] for m in (problem.model, small)
    )
    assert made.lost["shade"] == pytest.approx((found - reference) / reference)


def test_what_was_lost_is_told_without_floors_and_phases_are_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    problem = two_heads()
    moves = MeanOf(lambda prediction, _: prediction.std(), higher_is_better=True)
    problem = replace(problem, tasks={n: replace(t, metrics={"m": moves}) for n, t in problem.tasks.items()})
    small = prune(problem, Budget(macs=0.6), steps=2, rounds=2, batches=2)
    made = record_of(small)
    assert made is not None
    assert made.lost.keys() == problem.tasks.keys()
    was, now = (evaluate(replace(problem, model=m), "val")["shade"]["m"] for m in (problem.model, small))
    assert made.lost["shade"] == pytest.approx((was - now) / was)
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("prune: ")]
    phases = [
        "measuring: the dense",
        "measuring: the smallest",
        "round 1/2: scoring",
        r"round 1/2: \d+ groups are left; training",
    ]
    phases += [
        "round 2/2: scoring",
        "round 2/2: measuring",
        "round 2/2: fine-tuning the small network for 1 step$",
    ]
    assert len(said) == len(phases)
    assert all(re.match(f"prune: {phase}", line) for phase, line in zip(phases, said, strict=True)), said
    prune(problem, Budget(macs=0.6), steps=0, rounds=1, **QUICK)
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"steps": -1}, "steps is -1"),
        ({"rounds": 0}, "rounds is 0"),
        ({"floors": {"smell": 0.1}}, "smell"),
        ({"batches": 0}, "batches is 0"),
    ],
)
def test_what_is_unusable_is_refused(options: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        prune(two_heads(), Budget(macs=0.5), **{**QUICK, **options})


def test_repair_makes_up_for_what_is_lost() -> None:
    """Inputs that are copies of others are no loss at all once the others have taken over their weights."""
    torch.manual_seed(0)
    problem = two_heads()
    model = problem.model.eval()
    with torch.no_grad():
        for name in ("weight", "bias"):
            value = getattr(model.trunk[0], name)
            value[8:] = value[:8]
        for tensor in (
            model.trunk[1].weight,
            model.trunk[1].bias,
            model.trunk[1].running_mean,
            model.trunk[1].running_var,
        ):
            tensor[8:] = tensor[:8]
    recalibrate(problem, 6)
    x = torch.cat([x for x, _ in problem.train])
    expected = model(x)
    cut = two_heads().model
    cut.load_state_dict(model.state_dict())
    with torch.no_grad():
        cut.trunk[4].weight[:, 8:] = 0
    small = secateur.compact(cut.eval(), x[:2])
    worse = {task: (small(x)[task] - expected[task]).norm() for task in expected}
    assert repair(problem, small, 6) == ["trunk.4"]
    for task, found in small.eval()(x).items():
        assert (found - expected[task]).norm() < 0.05 * worse[task]


def test_random_is_beaten() -> None:
    """Half of the channels do nothing: Taylor's score takes those."""
    problem = two_heads()
    with torch.no_grad():
        problem.model.trunk[4].weight[:, ::2] *= 1e-6
    small = prune(problem, Budget(macs=0.75), steps=0, repair=0, rounds=1, **QUICK)
    kept = compaction(small).kept["trunk.0.weight"][0]  # pyright: ignore[reportOptionalMemberAccess]
    assert set(range(1, 16, 2)) <= set(kept)


def test_measured_is_what_is_there() -> None:
    problem = two_heads()
    x = torch.zeros(1, 3, 8, 8)
    found = Costing(problem, x, Budget(macs=1000, params=1000, mb=1, engine="torch")).dense()
    assert found["params"] == sum(p.numel() for p in problem.model.parameters())
    assert found["macs"] == macs(problem.model)
    assert 0.01 < found["mb"] < 0.2


def test_a_budget_that_is_kept_already_is_said() -> None:
    problem = two_heads()
    with pytest.warns(UserWarning, match=r"the network keeps .* as it is .*nothing is taken out"):
        small = prune(problem, Budget(params=10**9), steps=0, **QUICK)
    assert sum(p.numel() for p in small.parameters()) == sum(p.numel() for p in problem.model.parameters())
