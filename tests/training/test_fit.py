"""The training loop: what it refuses, what it keeps, what it records."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F

from problems import TwoHeads, batches, equal, two_heads, weights
from secateur.methods import SoftThreshold
from secateur.problem.problem import Problem, Task
from secateur.storage.snapshot import load_snapshot
from secateur.training.fit import fit
from secateur.training.history import History


def test_learns() -> None:
    history = fit(two_heads(), SoftThreshold(0.3), steps=60)
    assert history.rows[-1]["loss"]["colour"] < history.rows[0]["loss"]["colour"]
    assert history.seconds > 0
    shown = repr(history)
    assert shown.startswith("History(60 steps in ")
    assert ", density 30.0" in shown
    assert shown.endswith(f"; {len(history.rows)} rows)")
    assert len(shown) < 120
    assert repr(History()) == "History(0 steps in 0 s; 0 rows)"


@pytest.mark.parametrize("whole", [False, True])
def test_frozen_batch_norm_stays_frozen_and_a_network_in_eval_mode_is_trained(whole: bool) -> None:
    problem = two_heads()
    problem.model.insert_norm = norm = nn.BatchNorm2d(3)  # type: ignore[assignment]
    (problem.model if whole else norm).eval()
    fit(problem, steps=2)
    assert problem.model.training
    assert norm.training is whole


def test_density_follows_the_schedule_at_every_step() -> None:
    problem = two_heads()
    rows = fit(problem, SoftThreshold(0.1, ramp=(0.1, 0.6)), steps=50, log_every=1).rows
    assert len(rows) == 50
    for row in rows:
        share = min(max((row["step"] / 50 - 0.1) / 0.5, 0), 1)
        assert row["density"]["overall"] == pytest.approx(0.1 + 0.9 * (1 - share) ** 3, abs=0.0005)
    layers = {"trunk.0", "trunk.4", "colour", "shade.0", "shade.2"}
    assert rows[-1]["threshold"].keys() == layers
    rows = fit(two_heads(), SoftThreshold(0.1, "owner"), steps=10, log_every=1).rows
    assert rows[-1]["threshold"].keys() == {"backbone", "colour", "shade"}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(tmp_path: Path, bad: float) -> None:
    problem = two_heads()
    steps = 0

    def loss(prediction: Tensor, target: Tensor) -> Tensor:
        nonlocal steps
        steps += 1
        return F.l1_loss(prediction, target) * (bad if steps == 9 else 1.0)

    spoilt = Problem(problem.model, {**problem.tasks, "shade": Task(loss)}, problem.train)
    path = tmp_path / "c.pt"
    with pytest.raises(FloatingPointError, match=rf"task 'shade' became NaN or infinite at step 9.*{path}"):
        fit(spoilt, steps=20, checkpoint=path, checkpoint_every=4, log_every=2)
    kept = torch.load(path, weights_only=True)
    assert kept["step"] == 8
    assert all(value.isfinite().all() for value in kept["model"].values())


def test_a_target_that_the_model_does_not_return() -> None:
    problem = two_heads()
    data = [(x, {**t, "shape": t["colour"]}) for x, t in problem.train]
    with pytest.raises(ValueError, match=r"targets name \['shape'\], but the problem's tasks"):
        fit(Problem(problem.model, problem.tasks, data), steps=1)
    tasks = {**problem.tasks, "shape": Task(F.cross_entropy)}
    with pytest.raises(ValueError, match=r"targets name \['shape'\], but the model returned only"):
        fit(Problem(problem.model, tasks, data), steps=1)


def test_an_output_that_is_no_task() -> None:
    problem = two_heads()
    data = [(x, {"colour": t["colour"]}) for x, t in problem.train]
    alone = Problem(problem.model, {"colour": problem.tasks["colour"]}, data)
    history = fit(alone, SoftThreshold(0.2), steps=20)
    assert alone.owners["shade.0.weight"] == frozenset()
    assert history.rows[-1]["loss"].keys() == {"colour"}


def test_a_model_that_returns_no_dict() -> None:
    problem = two_heads()
    with pytest.raises(
        ValueError,
        match=r"returned Tensor .*; it must return a dict .* call=lambda model, x: \{'colour': model\(x\)",
    ):
        fit(Problem(nn.Conv2d(3, 5, 1), problem.tasks, problem.train), steps=1)


def test_loaders_that_cannot_serve() -> None:
    problem = two_heads()
    with pytest.raises(ValueError, match="one-shot iterator"):
        Problem(problem.model, problem.tasks, iter(problem.train))
    with pytest.raises(ValueError, match="loader gave no batch"):
        fit(Problem(problem.model, problem.tasks, []), steps=1)
    with pytest.raises(ValueError, match="tasks is empty"):
        Problem(problem.model, {}, problem.train)


@pytest.mark.parametrize("options", [{}, {"epochs": 1, "steps": 1}])
def test_epochs_or_steps(options: dict) -> None:
    with pytest.raises(ValueError, match="give exactly one"):
        fit(two_heads(), **options)


def test_epochs_count_batches() -> None:
    assert fit(two_heads(), epochs=2).rows[-1]["step"] == 12
    with pytest.raises(ValueError, match="epochs is 0; give a whole number of at least 1"):
        fit(two_heads(), epochs=0)


def test_checkpoint_of_another_model_or_length(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    fit(two_heads(), steps=4, checkpoint=path)
    with pytest.raises(ValueError, match="belongs to another model"):
        fit(two_heads(width=8), steps=4, checkpoint=path)
    with pytest.raises(ValueError, match="steps is 4 there and 5 here"):
        fit(two_heads(), steps=5, checkpoint=path)


def test_truncated_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    fit(two_heads(), steps=4, checkpoint=path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"c\.pt is truncated or damaged"):
        fit(two_heads(), steps=4, checkpoint=path)


def test_loading_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "sprung",))

    torch.save({"model": Trap()}, tmp_path / "c.pt")
    with pytest.raises(ValueError, match="truncated or damaged"):
        load_snapshot(tmp_path / "c.pt", {})
    assert not (tmp_path / "sprung").exists()


def test_task_weight_scales_the_loss() -> None:
    problem, scaled = two_heads(), two_heads()
    doubled = {**scaled.tasks, "shade": Task(F.l1_loss, weight=0.0)}
    fit(problem, steps=5)
    before = weights(scaled)
    fit(Problem(scaled.model, doubled, scaled.train), steps=5)
    assert torch.equal(before["shade.2.weight"], weights(scaled)["shade.2.weight"])
    assert not torch.equal(weights(problem)["shade.2.weight"], weights(scaled)["shade.2.weight"])


def test_mixed_precision_keeps_thresholds_in_float32() -> None:
    problem, method = two_heads(), SoftThreshold(0.2)
    fit(problem, method, steps=20, fabric=Fabric(accelerator="cpu", precision="bf16-mixed"))
    assert all(a.dtype == torch.float32 for a in method.thresholds().values())
    kept = sum(
        int(p.count_nonzero())
        for n, p in problem.model.named_parameters()
        if n.endswith("weight") and p.dim() == 4
    )
    total = sum(p.numel() for n, p in problem.model.named_parameters() if p.dim() == 4)
    assert kept == round(0.2 * total)


def test_an_input_for_each_task() -> None:
    """Several domains: the model gets ``{task: x}`` and a trunk runs several times a step."""

    class Domains(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = TwoHeads()

        def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
            return {task: self.net(value)[task] for task, value in x.items()}

    data = [(dict.fromkeys(t, x), t) for x, t in batches(partial=True)]
    one, two = (Problem(Domains(), two_heads().tasks, data) for _ in range(2))
    two.model.load_state_dict(one.model.state_dict())
    for problem in (one, two):
        fit(problem, SoftThreshold(0.2), steps=20)
    assert equal(weights(one), weights(two))
    kept = sum(int(p.count_nonzero()) for p in one.model.parameters() if p.dim() == 4)
    assert kept == round(0.2 * sum(p.numel() for p in one.model.parameters() if p.dim() == 4))
