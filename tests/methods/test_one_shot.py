"""Scores against naive loops, and when and where they prune."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from problems import two_heads, weights
from secateur import OneShot, fit
from secateur.problem.components import prunable
from secateur.problem.problem import Problem, Task
from secateur.pruning import scores
from secateur.pruning.pattern import Pattern


def loss(problem: Problem, index: int, task: str) -> Tensor:
    x, targets = problem.train[index]
    return problem.tasks[task].loss(problem.model(x)[task], targets[task])


def without_dropout(problem: Problem) -> Problem:
    problem.model.trunk[3] = nn.Identity()
    return problem


def test_gradients_against_a_naive_loop() -> None:
    problem = without_dropout(two_heads(dtype=torch.float64))
    found = scores.gradients(problem, prunable(problem.model), 3)
    problem.model.train()
    for index in range(3):
        sum(loss(problem, index, t) for t in problem.tasks).backward()
    for name, p in prunable(problem.model).items():
        assert torch.allclose(found[name], p.grad / 3), name


@pytest.mark.parametrize("absolute", [False, True])
def test_task_gradients_against_a_naive_loop(absolute: bool) -> None:
    problem = without_dropout(two_heads(dtype=torch.float64))
    owned = prunable(problem.model)
    found = scores.task_gradients(problem, owned, 2, absolute=absolute)
    assert set(found["colour"]) == {"trunk.0.weight", "trunk.4.weight", "colour.weight"}
    problem.model.train()
    for task in problem.tasks:
        total = {name: torch.zeros_like(p) for name, p in found[task].items()}
        for index in range(2):
            problem.model.zero_grad()
            loss(problem, index, task).backward()
            for name in total:
                grad = owned[name].grad
                total[name] += grad.abs() if absolute else grad
        assert all(torch.allclose(found[task][n], total[n] / 2) for n in total)


def test_task_weights_count_for_the_sum_and_not_for_the_tasks() -> None:
    plain, heavy = without_dropout(two_heads()), without_dropout(two_heads())
    tasks = {t: Task(spec.loss, weight=10.0) for t, spec in heavy.tasks.items()}
    heavy = Problem(heavy.model, tasks, heavy.train)
    one = scores.gradients(plain, prunable(plain.model))
    ten = scores.gradients(heavy, prunable(heavy.model))
    assert all(torch.allclose(10 * one[n], ten[n], rtol=1e-4, atol=1e-6) for n in one)
    alone, same = (scores.task_gradients(p, prunable(p.model)) for p in (plain, heavy))
    assert all(torch.equal(alone[t][n], same[t][n]) for t in alone for n in alone[t])


def test_scoring_leaves_no_trace() -> None:
    problem = two_heads()
    problem.model.eval()
    before, state = weights(problem), torch.get_rng_state()
    with scores.redrawn(prunable(problem.model), 3):
        assert not torch.equal(problem.model.trunk[0].weight, before["trunk.0.weight"])
        scores.gradients(problem, prunable(problem.model), 2)
    assert all(torch.equal(value, before[name]) for name, value in weights(problem).items())
    assert torch.equal(state, torch.get_rng_state())
    assert not any(m.training for m in problem.model.modules())


def test_values_by_hand() -> None:
    w, g = {"w": torch.tensor([2.0, -3.0])}, {"w": torch.tensor([-1.0, 0.5])}
    assert scores.saliency(w, g)["w"].tolist() == [2.0, 1.5]
    assert scores.taylor(w, g)["w"].tolist() == [4.0, 2.25]
    assert scores.magnitude(w)["w"].tolist() == [2.0, 3.0]
    assert torch.equal(scores.random(w, 1)["w"], scores.random(w, 1)["w"])
    assert not torch.equal(scores.random(w, 1)["w"], scores.random(w, 2)["w"])


def test_snip_and_taylor_keep_the_same_single_weights_and_other_blocks() -> None:
    for pattern, same in (("unstructured", True), ("1x4", False)):
        problem, chosen = without_dropout(two_heads()), []
        for score in ("snip", "taylor"):
            method = OneShot(0.2, score, batches=3, pattern=pattern)  # type: ignore[arg-type]
            method.start(problem, 10)
            chosen.append(torch.cat([mask.flatten() for mask in method.masks.masks.values()]))
            problem = without_dropout(two_heads())
        assert torch.equal(*chosen) == same


def test_snip_before_training_keeps_what_matters() -> None:
    problem, method = without_dropout(two_heads()), OneShot(0.1)
    expected = scores.saliency(prunable(problem.model), scores.gradients(problem, prunable(problem.model)))
    first = {n: p.clone() for n, p in prunable(problem.model).items()}
    method.start(problem, 10)
    flat = torch.cat([expected[n].flatten() for n in expected])
    mask = torch.cat([method.masks.masks[n].flatten() for n in expected])
    assert float(flat[mask].min()) >= float(flat[~mask].max())
    for name, p in prunable(problem.model).items():
        assert torch.equal(p, first[name] * method.masks.masks[name])


def test_redrawn_weights_score_and_the_original_ones_stay() -> None:
    problem = two_heads()
    first = {n: p.clone() for n, p in prunable(problem.model).items()}
    plain, drawn = OneShot(0.2), OneShot(0.2, redraw=True)
    drawn.start(problem, 10)
    assert all(torch.equal(p, first[n] * drawn.masks.masks[n]) for n, p in prunable(problem.model).items())
    other = two_heads()
    plain.start(other, 10)
    assert any(not torch.equal(plain.masks.masks[n], drawn.masks.masks[n]) for n in first)


def test_half_way_it_trains_dense_before() -> None:
    dense, pruned = two_heads(), two_heads()
    seen: list[int] = []

    class Watch(OneShot):
        def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
            super().after_step(step, optimizer)
            seen.append(sum(int(p.count_nonzero()) for p in prunable(pruned.model).values()))

    fit(pruned, Watch(0.1, "magnitude", at=0.5), steps=20)
    size = sum(p.numel() for p in prunable(dense.model).values())
    assert seen == [size] * 9 + [round(0.1 * size)] * 11


@pytest.mark.parametrize("pattern", ["2:4", "1x4"])
def test_any_score_takes_any_pattern(pattern: str) -> None:
    problem = two_heads()
    fit(problem, OneShot(0.25, "taylor", pattern=pattern), steps=5)
    for p in prunable(problem.model).values():
        if pattern == "2:4":
            mask = F.pad((p != 0).movedim(1, -1).float(), (0, -p.shape[1] % 4)).unflatten(-1, (-1, 4))
            assert float(mask.sum(-1).max()) <= 2
        else:
            share = Pattern.parse(pattern).pooled((p != 0).float())
            assert ((share == 0) | (share == 1)).all()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"score": "magic"}, "choose one of 'snip'"),
        ({"score": "magnitude", "redraw": True}, "redraw draws weights for scores by gradients"),
        ({"score": "random", "redraw": True}, "leave redraw out"),
        ({"batches": 0}, "at least 1"),
        ({"at": 1.0}, "share of the steps"),
        ({"pattern": "4:2"}, "N < M"),
    ],
)
def test_bad_settings(settings: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        OneShot(0.1, **settings)


def test_a_density_out_of_reach_is_refused_before_training() -> None:
    with pytest.raises(ValueError, match="this pattern it can be"):
        fit(two_heads(), OneShot(0.8, "magnitude", pattern="2:4", at=0.9), steps=10)


def test_a_task_without_labels_or_gradient_is_named() -> None:
    problem = two_heads(partial=True)
    with pytest.raises(ValueError, match="no label of task 'colour'"):
        scores.task_gradients(problem, prunable(problem.model), 1)
    plain = two_heads()
    tasks = {**plain.tasks, "shade": Task(lambda p, t: (p * 0).sum())}
    dead = Problem(plain.model, tasks, plain.train)
    with pytest.raises(ValueError, match="gradient of task 'shade' is zero everywhere"):
        scores.task_gradients(dead, prunable(dead.model), 1)
