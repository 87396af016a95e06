"""What users of other tools complain about, one test a complaint, for what is built so far."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric

from problems import TwoHeads, equal, two_heads, weights
from secateur import (
    AdaptiveWeighting,
    GradualMagnitude,
    GroupLasso,
    SoftThreshold,
    compact,
    components,
    density,
    evaluate,
    fit,
    load,
    save,
)
from secateur.cost import count_macs
from secateur.problem import Problem, Task


def kept(problem: Problem) -> float:
    return density(problem.model, components(problem)).overall


def test_03_the_pruned_model_cannot_be_saved_and_loaded_cleanly(tmp_path: Path) -> None:
    """It loads into one's own class, from a file that holds no code and is smaller."""
    problem = two_heads(width=64)
    whole = save(problem.model, tmp_path / "dense.safetensors").stat().st_size
    fit(problem, SoftThreshold(0.1), steps=10)
    path = save(problem.model, tmp_path / "pruned.safetensors")
    assert equal(load(TwoHeads(64), path).state_dict(), weights(problem))
    assert path.stat().st_size < whole / 5


@pytest.mark.parametrize("asked", [0.5, 0.1, 0.01])
def test_04_the_sparsity_asked_is_not_the_sparsity_got(asked: float) -> None:
    problem = two_heads(width=64)
    fit(problem, SoftThreshold(asked), steps=10)
    assert kept(problem) == pytest.approx(asked, abs=0.0005)


def test_08_cannot_continue_pruning_a_pruned_model() -> None:
    problem = two_heads(width=64)
    for asked, method in ((0.5, GradualMagnitude), (0.2, SoftThreshold), (0.05, GradualMagnitude)):
        fit(problem, method(asked), steps=20)
        assert kept(problem) == pytest.approx(asked, abs=0.0005)


def test_09_pruned_weights_come_back_under_momentum_or_decay() -> None:
    """Once the mask is frozen they are zero at every step, whatever the optimizer."""
    problem, seen = two_heads(), []
    fit(
        problem,
        SoftThreshold(0.2, ramp=(0.0, 0.3)),
        steps=40,
        log_every=1,
        optimizer=lambda groups: torch.optim.SGD(groups, lr=0.05, momentum=0.9, weight_decay=0.01),
        on_log=lambda rows: seen.append(rows[-1]["density"]["overall"]),
    )
    assert seen[12:] == [seen[12]] * 28


def test_10_paper_numbers_cannot_be_reproduced() -> None:
    """The same seed gives the same weights, to the bit."""
    one, two = two_heads(), two_heads()
    for problem in (one, two):
        fit(problem, SoftThreshold(0.2), AdaptiveWeighting(), steps=20, seed=7)
    assert equal(weights(one), weights(two))


def test_12_multi_task_libraries_refuse_cpu_amp_partial_labels() -> None:
    problem = two_heads(partial=True)
    metrics_free = Problem(
        problem.model, {n: Task(t.loss) for n, t in problem.tasks.items()}, problem.train, problem.val
    )
    fabric = Fabric(accelerator="cpu", precision="bf16-mixed")
    history = fit(metrics_free, SoftThreshold(0.2), AdaptiveWeighting(), steps=20, log_every=4, fabric=fabric)
    assert set(history.rows[-1]["loss"]) == {"colour", "shade"}
    assert evaluate(metrics_free, "val") == {"colour": {}, "shade": {}}


def test_15_gradient_based_task_weighting_costs_too_much() -> None:
    """The adaptive weighting needs no backward pass of its own: one a step, however many tasks."""
    problem, passes = two_heads(), []
    problem.model.trunk[0].weight.register_hook(lambda _: passes.append(1))
    fit(problem, weighting=AdaptiveWeighting(), steps=12)
    assert len(passes) == 12


def test_01_the_pruned_model_is_no_faster_no_smaller(tmp_path: Path) -> None:
    problem = two_heads(width=64)
    x = problem.train[0][0]
    dense = sum(count_macs(problem.model, x).values())
    whole = save(problem.model, tmp_path / "dense.safetensors").stat().st_size
    fit(problem, GroupLasso(density=0.2, groups="coupled"), steps=60)
    small = compact(problem.model, x)
    assert sum(count_macs(small, x).values()) < 0.3 * dense
    assert save(small, tmp_path / "small.safetensors").stat().st_size < 0.4 * whole


def test_05_accuracy_collapses_at_once_after_shrinking() -> None:
    problem = two_heads(width=64)
    x = problem.train[0][0]
    fit(problem, GroupLasso(density=0.3, groups="coupled"), steps=60)
    small = compact(problem.model, x).eval()
    with torch.no_grad():
        before, after = problem.model.eval()(x), small(x)
    for task, value in before.items():
        assert torch.allclose(value, after[task], rtol=1e-5, atol=1e-5 * float(value.abs().max()))


def test_06_the_shrinker_prunes_the_outputs_of_tasks() -> None:
    problem = two_heads(width=16)
    with torch.no_grad():
        for parameter in problem.model.parameters():
            parameter.zero_()
    x = problem.train[0][0]
    found = compact(problem.model, x).eval()(x)
    assert {task: value.shape[1] for task, value in found.items()} == {"colour": 5, "shade": 1}


def test_14_odd_channel_counts_make_inference_slower() -> None:
    problem = two_heads(width=64)
    x = problem.train[0][0]
    fit(problem, GroupLasso(density=0.3, groups="coupled"), steps=60)
    small = compact(problem.model, x, round_to=8)
    assert all(m.out_channels % 8 == 0 for m in small.trunk if isinstance(m, torch.nn.Conv2d))
