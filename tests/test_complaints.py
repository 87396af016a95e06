"""What users of other tools complain about, one test a complaint at least; see the table in shared/users.md.

Here: training. Shrinking, engines, installation and data: tests/test_complaints_deploy.py. ``ELSEWHERE`` names what other
files show of a complaint; that all of them have a test, and that these exist, is tested too.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torchjd.aggregation import UPGrad

from problems import equal, two_heads, weights
from secateur import (
    AdaptiveWeighting,
    GradualMagnitude,
    OneShot,
    SoftThreshold,
    UncertaintyWeighting,
    components,
    density,
    evaluate,
    fit,
)
from secateur.measures.seeds import differs, stat
from secateur.problem.problem import Problem, Task

HERE = Path(__file__).parent
OWN = ("test_complaints.py", "test_complaints_deploy.py")
ELSEWHERE = {
    1: ["shrinking/test_compact.py::test_networks_of_torchvision_with_random_dead_channels"],
    4: ["test_contract.py::test_density_asked_is_density_got"],
    6: [
        "shrinking/test_compact.py::test_an_unknown_operation_pins_and_says_so",
        "shrinking/test_compact.py::test_operations_that_couple_in_their_own_ways",
        "shrinking/channels/test_oracle.py::test_what_lives_and_dies_together",
    ],
    7: [
        "training/test_two_processes.py::test_thresholds_masks_loss_weights_and_the_density",
        "runs/study/test_running.py::test_each_gpu_takes_one_run_at_a_time",
    ],
    8: [
        "test_contract_training.py::test_resumes_bit_for_bit",
        "cli/test_cli_resume.py::test_killed_and_resumed_equals_never_stopped",
    ],
    9: [
        "test_contract_training.py::test_zeros_stay",
        "shrinking/test_compact_promises.py::test_optimizer_state_is_carried_along",
    ],
    10: ["runs/study/test_results.py::test_marks"],
    12: [
        "training/test_two_processes.py::test_thresholds_masks_loss_weights_and_the_density",
        "test_contract.py::test_partial_labels",
    ],
    13: ["data/test_doctor.py::test_every_problem_is_named_with_its_place"],
}


def named_in(name: str) -> set[str]:
    tree = ast.parse((HERE / name).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("number", range(1, 16))
def test_every_complaint_has_its_test(number: int) -> None:
    own = [name for file in OWN for name in named_in(file) if name.startswith(f"test_{number:02d}_")]
    assert own or number in ELSEWHERE
    for place in ELSEWHERE.get(number, ()):
        file, _, name = place.partition("::")
        assert name in named_in(file), place


def kept(problem: Problem) -> float:
    return density(problem.model, components(problem)).overall


@pytest.mark.parametrize("asked", [0.5, 0.1, 0.01])
def test_04_the_sparsity_asked_is_not_the_sparsity_got(asked: float) -> None:
    problem = two_heads(width=64)
    fit(problem, SoftThreshold(asked), steps=10)
    assert kept(problem) == pytest.approx(asked, abs=0.0005)


def losses(problem: Problem) -> dict[str, float]:
    """Mean loss of each task on the validation batches."""
    model = problem.model.eval()
    with torch.no_grad():
        found = [(model(x), targets) for x, targets in problem.val or ()]
    return {
        t: sum(float(task.loss(p[t], y[t])) for p, y in found) / len(found)
        for t, task in problem.tasks.items()
    }


def test_05_accuracy_collapses_at_once_after_pruning() -> None:
    """Cut at once, a trained network is lost; the same weights pruned while they train stay as good, for each task."""
    dense, cut, pruned = two_heads(width=64), two_heads(width=64), two_heads(width=64)
    fit(dense, steps=200)
    for problem in (cut, pruned):
        problem.model.load_state_dict(weights(dense))
    fit(cut, OneShot(0.2, "magnitude"), steps=1, optimizer=lambda g: torch.optim.SGD(g, lr=0.0))
    fit(pruned, GradualMagnitude(0.2), steps=200)
    before, at_once, after = losses(dense), losses(cut), losses(pruned)
    assert kept(pruned) == pytest.approx(0.2, abs=0.0005)
    assert sum(at_once.values()) > 1.5 * sum(before.values())
    for task, loss in after.items():
        assert loss < 1.1 * before[task] + 0.02
        assert loss < at_once[task]


def test_08_cannot_resume(tmp_path: Path) -> None:
    """Stopped in the middle, the same call goes on and ends with the weights of a run never stopped, to the bit."""

    class PowerCut(Exception):
        pass

    def cut(rows: list[dict[str, Any]]) -> None:
        if rows[-1]["step"] == 13:
            raise PowerCut

    straight, resumed = two_heads(), two_heads()
    fit(straight, SoftThreshold(0.2), AdaptiveWeighting(), steps=20)
    settings: dict[str, Any] = {
        "steps": 20,
        "checkpoint": tmp_path / "c.pt",
        "checkpoint_every": 5,
        "log_every": 1,
    }
    with pytest.raises(PowerCut):
        fit(two_heads(), SoftThreshold(0.2), AdaptiveWeighting(), on_log=cut, **settings)
    history = fit(resumed, SoftThreshold(0.2), AdaptiveWeighting(), **settings)
    assert [row["step"] for row in history.rows] == list(range(1, 21))
    assert equal(weights(straight), weights(resumed))


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


def test_10_noise_between_runs_is_as_large_as_the_gain() -> None:
    """A gain within the noise is not called one, however large it looks; a small one that every seed has is."""
    dense, lucky = {0: 70.0, 1: 74.0, 2: 66.0}, {0: 75.0, 1: 70.0, 2: 71.0}
    steady = {seed: value + gain for (seed, value), gain in zip(dense.items(), (0.5, 0.6, 0.55), strict=True)}
    assert stat(lucky.values()).mean - stat(dense.values()).mean == pytest.approx(2.0)
    assert not differs(lucky, dense)
    assert differs(steady, dense)
    gains = stat([lucky[seed] - dense[seed] for seed in dense])
    assert gains.margin is not None
    assert gains.margin > gains.mean, "the interval that is printed holds zero"


def test_12_multi_task_libraries_refuse_cpu_amp_partial_labels() -> None:
    problem = two_heads(partial=True)
    metrics_free = Problem(
        problem.model, {n: Task(t.loss) for n, t in problem.tasks.items()}, problem.train, problem.val
    )
    fabric = Fabric(accelerator="cpu", precision="bf16-mixed")
    history = fit(metrics_free, SoftThreshold(0.2), AdaptiveWeighting(), steps=20, log_every=4, fabric=fabric)
    assert set(history.rows[-1]["loss"]) == {"colour", "shade"}
    assert evaluate(metrics_free, "val") == {"colour": {}, "shade": {}}


@pytest.mark.parametrize("aggregator", [None, UPGrad], ids=["sum", "aggregated"])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_12_partial_labels_under_every_weighting_of_gradients(aggregator: Any, precision: Any) -> None:
    """A task without labels in a batch keeps its head as it is, in either precision, with and without an aggregator."""
    problem = two_heads(partial=True)
    only_colour = [batch for batch in problem.train if "colour" in batch[1]]
    late = [batch for batch in problem.train if "shade" in batch[1]]
    lacking = Problem(problem.model, problem.tasks, [*only_colour, *late])
    before = weights(problem)
    fabric = Fabric(accelerator="cpu", precision=precision)
    fit(lacking, steps=len(only_colour), fabric=fabric, aggregator=aggregator() if aggregator else None)
    after = weights(problem)
    assert torch.equal(before["shade.0.weight"], after["shade.0.weight"])
    assert not torch.equal(before["colour.weight"], after["colour.weight"])


def test_15_gradient_based_task_weighting_costs_too_much() -> None:
    """The adaptive weighting needs no backward pass of its own: one a step, however many tasks."""
    problem, passes = two_heads(), []
    problem.model.trunk[0].weight.register_hook(lambda _: passes.append(1))
    fit(problem, weighting=AdaptiveWeighting(), steps=12)
    assert len(passes) == 12


@pytest.mark.parametrize("weighting", [AdaptiveWeighting, UncertaintyWeighting])
def test_15_weighting_costs_too_much_memory(weighting: Any) -> None:
    """Nothing more is kept for the backward pass than with equal weights but scalars, and no gradient of each task."""

    def saved(made: Any) -> int:
        elements = 0

        def count(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal elements
            elements += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            fit(two_heads(width=32), weighting=made, steps=4)
        return elements

    plain = saved(None)
    assert plain <= saved(weighting()) <= plain + 200
    made = {width: weighting() for width in (8, 64)}
    for width, one in made.items():
        fit(two_heads(width=width), weighting=one, steps=4)
    sizes = [
        sum(v.numel() for v in one.state_dict().values() if isinstance(v, torch.Tensor))
        for one in made.values()
    ]
    assert sizes[0] == sizes[1], "what it remembers does not grow with the network"
