"""The only training loop."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sized
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from secateur.measures import evaluate
from secateur.problem import Problem, seed_all, to_device
from secateur.pruning import Schedule, Sparsifier, cosine
from secateur.storage import named_tensors
from secateur.training.aggregation import Aggregator
from secateur.training.aggregators import Memory
from secateur.training.backward import Backward
from secateur.training.distillation import Distillation
from secateur.training.floors import Attempt, Results, within_floors
from secateur.training.ledger import Ledger, Row
from secateur.training.optimizer import MakeOptimizer, adam
from secateur.training.pruning import Pruning
from secateur.training.recalibration import recalibrate as recalibrate_
from secateur.training.resuming.identity import identity_of_training
from secateur.training.resuming.loader_state import unrepeatable
from secateur.training.resuming.resumption import Resumption
from secateur.training.resuming.stream import Stream
from secateur.weighting import Weighting

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.wrappers import _FabricModule, _FabricOptimizer  # pyright: ignore[reportPrivateUsage]


@dataclass
class History:
    """What happened.

    Args:
        rows: ``{"step", "loss", "weight", "density", "threshold", "lr"}`` per log interval, ``{"step", "val"}`` per
            validation.
        seconds: Training time, over all sittings.
        attempts: Trainings under floors, in order; empty without floors.
    """

    rows: list[Row] = field(default_factory=list[Row])
    seconds: float = 0.0
    attempts: list[Attempt] = field(default_factory=list[Attempt])


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
    distillation: Distillation | None = None,
    aggregator: Aggregator | None = None,
    recalibrate: int | None = None,
    floors: Mapping[str, float] | None = None,
    reference: Results | None = None,
    tries: int = 5,
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
        distillation: A teacher that the network follows beside the labels; None for none.
        aggregator: ``(tasks, elements) -> (elements,)``, such as those of TorchJD: the direction that the gradients of
            what several tasks share are put together to; None adds them up. A backward pass for each task. What a stateful
            one remembers goes into the checkpoint, or is refused there.
        recalibrate: Batches to measure BatchNorm's statistics on anew once the method is done; None for none.
        floors: Task to the share of its validation metrics that it may lose at most against a dense network: with
            ``{"seg": 0.02}`` the density is raised until seg loses no more than 2 %; the attempts are in the history.
        reference: Metrics of the dense network on the validation split, for ``floors``; None trains one first.
        tries: Trainings at most under ``floors``.
        on_log: Called with all rows so far whenever there is a new one, and on resuming.

    Returns:
        The history. A run that was stopped and resumed ends with the weights, bit for bit, of one never stopped.

    Raises:
        ValueError: If settings, model, data and checkpoint do not fit together.
        FloatingPointError: If a task's loss or gradient is NaN or infinite; the last checkpoint is kept.
        OSError: If a checkpoint cannot be written; the last one is kept.
    """
    method, weighting, make = method or Sparsifier(), weighting or Weighting(), optimizer or adam()
    if floors is not None:

        def once(made: Sparsifier, path: Path | None) -> History:
            return fit(
                problem,
                made,
                deepcopy(weighting),
                epochs=epochs,
                steps=steps,
                optimizer=make,
                schedule=schedule,
                seed=seed,
                fabric=fabric,
                checkpoint=path,
                checkpoint_every=checkpoint_every,
                log_every=log_every,
                validate_every=validate_every,
                distillation=distillation,
                aggregator=deepcopy(aggregator),
                recalibrate=recalibrate,
                on_log=on_log,
            )

        saved_to = Path(checkpoint) if checkpoint else None
        return within_floors(once, problem, method, floors, reference, saved_to, tries)
    from lightning_fabric import Fabric

    fabric = fabric or Fabric(**_where(problem))
    steps = _steps(problem, epochs, steps)
    total = steps * method.rounds
    log_every, checkpoint_every = log_every or max(1, total // 200), checkpoint_every or max(1, total // 20)
    path = Path(checkpoint) if checkpoint else None
    memory = Memory(aggregator, fabric.device)
    if path:
        memory.check()
    fabric.to_device(problem.model)
    seed_all(seed)

    with Pruning(problem, method, weighting, steps=steps, distillation=distillation) as pruning:
        inner = pruning.attach(make(pruning.groups()))
        rates = [group["lr"] for group in inner.param_groups]
        model, stepper = cast("tuple[_FabricModule, _FabricOptimizer]", fabric.setup(problem.model, inner))
        backward = Backward(pruning, model, fabric, aggregator)
        stream = Stream(problem.train, fabric.global_rank, fabric.world_size)
        if path and (why := unrepeatable(problem.train)):
            warnings.warn(
                f"fit: a stopped run of this loader will not go on bit for bit: {why}.", stacklevel=2
            )
        ledger, history = Ledger(), History()
        parts = {"pruning": pruning, "aggregator": memory, "ledger": ledger}
        decides = {"seed": seed, "schedule": schedule, "distillation": distillation, "aggregator": aggregator}
        decides = identity_of_training(decides, inner, fabric, problem.train)
        tensors = named_tensors(problem.model)
        resumption = Resumption(path, tensors, parts, stream, decides, fabric.is_global_zero)
        if saved := resumption.load(inner):
            history.rows, history.seconds = saved["rows"], saved["seconds"]
            if on_log:
                on_log(history.rows)

        problem.model.train()
        while pruning.done < total:
            began = time.perf_counter()
            if (
                pruning.done and pruning.done % steps == 0
            ):  # a new round: a new optimizer, the only time it is made again
                inner = pruning.attach(make(pruning.groups()))
                stepper = cast("_FabricOptimizer", fabric.setup_optimizers(inner))
            for group, rate in zip(inner.param_groups, rates, strict=True):
                group["lr"] = rate * schedule(pruning.done % steps / steps)

            x, targets = to_device(next(stream), fabric.device)
            with backward.around():
                terms = pruning.terms(model(x), targets, x)
                backward(terms)
            stepper.step()
            pruning.step()
            stepper.zero_grad()
            step = pruning.done
            ledger.add(step, terms.losses, terms.weights)
            history.seconds += time.perf_counter() - began

            last, fresh = step == total, len(history.rows)
            saves = path is not None and (step % checkpoint_every == 0 or last)
            if saves or step % log_every == 0 or last:
                if saves or pruning.finite.suspicious():
                    pruning.finite.check(resumption.kept(), ledger.first_bad(), inner.state_dict()["state"])
                ledger.check(resumption.kept())
            if step % log_every == 0 or last:
                found = {"density": pruning.density().to_dict(), "lr": inner.param_groups[0]["lr"]}
                thresholds = {c: float(a) for c, a in method.thresholds().items()}
                history.rows.append({"step": step, **ledger.row(), **found, "threshold": thresholds})
            if validate_every and problem.val is not None and (step % validate_every == 0 or last):
                history.rows.append({"step": step, "val": evaluate(problem, "val")})
            if on_log and len(history.rows) > fresh:
                on_log(history.rows)
            if saves:
                resumption.save(step, inner, history.rows, history.seconds)
    if recalibrate is not None:
        recalibrate_(problem, recalibrate)
        pruning.finite.check(resumption.kept())
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


def _where(problem: Problem) -> dict[str, Any]:
    """Arguments of Fabric for the device that the model is on."""
    device = next((p.device for p in problem.model.parameters()), torch.device("cpu"))
    return {"accelerator": device.type, "devices": [device.index or 0] if device.type == "cuda" else 1}
