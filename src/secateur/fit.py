"""The only training loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricOptimizer  # pyright: ignore[reportPrivateUsage]
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim import Optimizer

from secateur.components import components
from secateur.density import density
from secateur.evaluate import evaluate
from secateur.ledger import Ledger, Row
from secateur.problem import Problem, predict, to_device
from secateur.rng import rng_state, set_rng_state
from secateur.schedules import Schedule, cosine
from secateur.snapshot import load_snapshot, named_tensors, restore, save_snapshot
from secateur.sparsifier import Sparsifier
from secateur.stream import Stream
from secateur.weighting import Weighting

MakeOptimizer = Callable[[list[dict[str, Any]]], Optimizer]


def adam(
    lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), weight_decay: float = 0.0
) -> MakeOptimizer:
    """Adam in its fused form (five times faster than torch's default on a CPU); the decay is coupled L2."""
    return lambda groups: torch.optim.Adam(groups, lr=lr, betas=betas, weight_decay=weight_decay, fused=True)


@dataclass
class History:
    """What happened.

    Args:
        rows: ``{"step", "loss", "weight", "density", "threshold", "lr"}`` per log interval, ``{"step", "val"}`` per
            validation.
        seconds: Training time, over all sittings.
    """

    rows: list[Row] = field(default_factory=list[Row])
    seconds: float = 0.0


def fit(
    problem: Problem,
    method: Sparsifier | None = None,
    weighting: Weighting | None = None,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    optimizer: MakeOptimizer | None = None,
    schedule: Schedule = cosine,
    seed: int = 0,
    fabric: Fabric | None = None,
    checkpoint: Path | str | None = None,
    checkpoint_every: int | None = None,
    log_every: int | None = None,
    validate_every: int = 0,
    on_log: Callable[[list[Row]], object] | None = None,
) -> History:
    """Trains ``problem.model`` in place and leaves it with the zeros that ``method`` makes.

    Args:
        problem: Model, tasks and data.
        method: Dense training if None.
        weighting: Equal weights if None.
        epochs: Passes over ``problem.train``, a round; give this or ``steps``.
        steps: Optimizer steps, a round.
        optimizer: Parameter groups to optimizer; :func:`adam` if None.
        schedule: Progress in [0, 1] to the factor of the learning rate.
        seed: Seeds the global generators when training begins.
        fabric: Devices, precision and strategy; the device that the model is on if None.
        checkpoint: File to write to, and to resume from where it exists.
        checkpoint_every: Steps between checkpoints; a twentieth of the steps if None.
        log_every: Steps between rows of the history; a two-hundredth of the steps if None.
        validate_every: Steps between validations, 0 for none.
        on_log: Called with all rows so far whenever there is a new one, and on resuming.

    Returns:
        The history. A run that was stopped and resumed ends with the weights, bit for bit, of one never stopped.

    Raises:
        ValueError: If settings, model, data and checkpoint do not fit together.
        FloatingPointError: If a task's loss is NaN or infinite; the last checkpoint is kept.
        OSError: If a checkpoint cannot be written; the last one is kept.
    """
    method, weighting, make = method or Sparsifier(), weighting or Weighting(), optimizer or adam()
    fabric = fabric or _fabric(problem)
    steps = _steps(problem, epochs, steps)
    total = steps * method.rounds
    log_every, checkpoint_every = log_every or max(1, total // 200), checkpoint_every or max(1, total // 20)
    path = Path(checkpoint) if checkpoint else None

    fabric.to_device(problem.model)
    parts = components(problem)  # reads the owners, before a method wraps the weights
    tensors = named_tensors(problem.model)
    torch.manual_seed(seed)
    method.start(problem, steps)
    weighting.start(problem, steps)
    extra = [*method.param_groups(), *weighting.param_groups()]
    inner = make(_groups(problem, extra))
    model, stepper = cast(tuple[nn.Module, _FabricOptimizer], fabric.setup(problem.model, inner))
    rates = [group["lr"] for group in inner.param_groups]
    stream, ledger, history = (
        Stream(problem.train, fabric.global_rank, fabric.world_size),
        Ledger(),
        History(),
    )

    step = 0
    if path and path.exists():
        saved = load_snapshot(path, tensors)
        step = saved["step"]
        if saved["total"] != total:
            raise ValueError(
                f"The checkpoint {path} is of a run of {saved['total']} steps, not {total}; delete it or ask for the same."
            )
        method.load_state_dict(saved["method"])
        weighting.load_state_dict(saved["weighting"])
        restore(tensors, saved["model"])
        inner.load_state_dict(saved["optimizer"])
        ledger.load_state_dict(saved["ledger"])
        stream.seek(step, saved["stream"])
        set_rng_state(saved["rng"])
        history.rows, history.seconds = saved["rows"], saved["seconds"]
        if on_log:
            on_log(history.rows)
    method.bind(inner)

    problem.model.train()
    while step < total:
        began = time.perf_counter()
        if step and step % steps == 0:  # a new round: a new optimizer, the only time it is made again
            inner = make(_groups(problem, extra))
            stepper = cast(_FabricOptimizer, fabric.setup_optimizers(inner))
            method.bind(inner)
        for group, rate in zip(inner.param_groups, rates, strict=True):
            group["lr"] = rate * schedule(step % steps / steps)

        x, targets = to_device(next(stream), fabric.device)
        with parametrize.cached():  # a trunk that runs several times computes its effective weights once
            predictions = predict(model, x, targets, problem.tasks)
            losses = {t: problem.tasks[t].loss(p, targets[t]) for t, p in predictions.items()}
            weights = weighting(_averaged(fabric, losses))
            loss = sum(problem.tasks[t].weight * weights[t] * losses[t] for t in losses)
            total_loss = loss + weighting.penalty() + method.penalty()
            fabric.backward(cast(Tensor, total_loss))
        stepper.step()
        step += 1
        method.after_step((step - 1) % steps + 1, inner)
        stepper.zero_grad()
        ledger.add(step, losses, weights)
        if step % steps == 0:
            method.after_round(step // steps - 1)
        history.seconds += time.perf_counter() - began

        last, fresh = step == total, len(history.rows)
        if step % log_every == 0 or last:
            ledger.check(_kept(path))
            found = {"density": density(problem.model, parts).to_dict(), "lr": inner.param_groups[0]["lr"]}
            thresholds = {c: float(a) for c, a in method.thresholds().items()}
            history.rows.append({"step": step, **ledger.row(), **found, "threshold": thresholds})
        if validate_every and problem.val is not None and (step % validate_every == 0 or last):
            history.rows.append({"step": step, "val": evaluate(problem, "val")})
        if on_log and len(history.rows) > fresh:
            on_log(history.rows)
        if path and (step % checkpoint_every == 0 or last):
            ledger.check(_kept(path))
            parts_of_state: dict[str, Any] = {
                "step": step,
                "total": total,
                "method": method.state_dict(),
                "weighting": weighting.state_dict(),
                "optimizer": inner.state_dict(),
                "ledger": ledger.state_dict(),
                "stream": stream.state_dict(),
                "rng": rng_state(),
                "seconds": history.seconds,
            }
            if fabric.is_global_zero:
                save_snapshot(path, tensors, parts_of_state, history.rows)
    method.finish()
    return history


def _steps(problem: Problem, epochs: int | None, steps: int | None) -> int:
    if (epochs is None) == (steps is None):
        raise ValueError(f"fit: epochs is {epochs} and steps is {steps}; give exactly one of them.")
    if steps is None:
        if not isinstance(problem.train, Sized):
            raise ValueError("fit: epochs needs a loader with a length; give steps instead.")
        steps = (epochs or 0) * len(problem.train)
    if steps < 1:
        raise ValueError(
            f"fit: that makes {steps} steps; at least 1 is needed (epochs {epochs}, batches an epoch as the loader says)."
        )
    return steps


def _fabric(problem: Problem) -> Fabric:
    device = next((p.device for p in problem.model.parameters()), torch.device("cpu"))
    devices = [device.index or 0] if device.type == "cuda" else 1
    return Fabric(accelerator=device.type, devices=devices)


def _groups(problem: Problem, extra: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The model's parameters, and the groups that method and weighting ask for."""
    special = {id(p) for group in extra for p in group["params"]}
    own = [p for p in problem.model.parameters() if p.requires_grad and id(p) not in special]
    return [{"params": own}, *({**group, "params": list(group["params"])} for group in extra)]


def _averaged(fabric: Fabric, losses: dict[str, Any]) -> dict[str, Any]:
    """Losses averaged over processes, so that every process weighs alike."""
    if fabric.world_size == 1:
        return losses
    return {task: fabric.all_reduce(loss.detach()) for task, loss in losses.items()}


def _kept(path: Path | None) -> str:
    return f"The last good checkpoint is {path}." if path and path.exists() else "No checkpoint was written."
