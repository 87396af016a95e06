"""The only training loop."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, cast

from secateur.measures import DeadTaskWarning, evaluate
from secateur.problem import Problem, same_buffers, seed_all
from secateur.pruning import Schedule, Sparsifier, cosine
from secateur.storage import behind, named_tensors
from secateur.training.aggregation import Aggregator
from secateur.training.aggregators import Memory
from secateur.training.backward import Backward
from secateur.training.callbacks import Callback, Callbacks, Course
from secateur.training.distillation import Distillation
from secateur.training.floors import Results, within_floors
from secateur.training.history import History, Progress
from secateur.training.hold import check_parts
from secateur.training.ledger import Ledger, Row
from secateur.training.optimizer import MakeOptimizer, adam, check_make, check_steps
from secateur.training.pruning import Pruning
from secateur.training.recalibration import check_batches, recalibrate, train_mode
from secateur.training.resuming.identity import identity_of_training
from secateur.training.resuming.resumption import Resumption, extra_part
from secateur.training.resuming.stream import Stream, unrepeatable
from secateur.training.settings import Settings
from secateur.weighting import Weighting

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.wrappers import _FabricModule, _FabricOptimizer  # pyright: ignore[reportPrivateUsage]


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
    accumulate: int = 1,
    distillation: Distillation | None = None,
    aggregator: Aggregator | None = None,
    recalibrate: int | None = None,
    floors: Mapping[str, float] | None = None,
    reference: Results | None = None,
    tries: int = 5,
    callbacks: Sequence[Callback] = (),
    on_log: Callable[[list[Row]], object] | None = None,
    progress: bool = True,
) -> History:
    """Trains ``problem.model`` in place, see :func:`train_mode`, and leaves it with the zeros that ``method`` makes.

    Args:
        problem: Model, tasks and data.
        method: Dense training if None.
        weighting: Equal weights if None.
        epochs: Passes over ``problem.train``, a round; give this or ``steps``.
        steps: Optimizer steps, a round.
        optimizer: Function of parameter groups that makes an optimizer; :func:`adam` if None.
        schedule: Progress in [0, 1] to the factor of the learning rate.
        seed: Seeds the global generators when training begins.
        fabric: Devices, precision and strategy; the device that the model is on if None.
        checkpoint: File to write to, and to resume from where it exists; of a link, the file that it leads to.
        checkpoint_every: Steps between checkpoints; a twentieth of the steps if None.
        log_every: Steps between rows of the history; a two-hundredth of the steps if None.
        validate_every: Steps between validations, 0 for none; a twentieth of the steps if a callback looks at them.
        accumulate: Batches to a step, whose gradients are averaged.
        distillation: A teacher that the network follows beside the labels; None for none.
        aggregator: ``(tasks, elements) -> (elements,)``, such as those of TorchJD: the direction that the gradients of
            what several tasks share are put together to; None adds them up. A backward pass for each task. What a stateful
            one remembers goes into the checkpoint, or is refused there.
        recalibrate: Batches to measure BatchNorm's statistics on anew once the method is done; None for none.
        floors: Task to the share of its validation metrics that it may lose at most against a dense network: with
            ``{"seg": 0.02}`` the density is raised until seg loses no more than 2 %; the attempts are in the history.
        reference: Metrics of the dense network on the validation split, for ``floors`` and ``"delta_t"``; None: floors train one
            first, and ΔT is against the first validation.
        tries: Trainings at most under ``floors``.
        callbacks: What happens beside the steps: :class:`EarlyStopping`, :class:`KeepBest`, :class:`EMA`, one of your own.
        on_log: Called with all rows so far whenever there is a new one, and on resuming.
        progress: Say on standard error how far it is: a bar on a terminal, elsewhere a line every 5 %.

    Returns:
        The history. A run that was stopped and resumed ends with the weights, bit for bit, of one never stopped.

    Raises:
        ValueError: If settings, model, data, callbacks and checkpoint do not fit together.
        CallbackError: If a callback raised.
        FloatingPointError: If a task's loss or gradient is NaN or infinite; the last checkpoint is kept.
        OSError: If a checkpoint cannot be written; the last one is kept.
    """
    check_batches(recalibrate)
    asked = Settings(
        epochs=epochs,
        steps=steps,
        optimizer=optimizer or adam(),
        schedule=schedule,
        seed=seed,
        fabric=fabric,
        checkpoint_every=checkpoint_every,
        log_every=log_every,
        validate_every=validate_every,
        accumulate=accumulate,
        distillation=distillation,
        recalibrate=recalibrate,
        on_log=on_log,
        progress=progress,
    )
    method, weighting = method or Sparsifier(), weighting or Weighting()
    check_parts(problem, method, weighting)
    check_make(asked.optimizer)
    path, beside = behind(Path(checkpoint)) if checkpoint else None, Callbacks(callbacks, reference)
    if floors is None:
        return _train(problem, method, weighting, aggregator, beside, path, asked)

    def attempt(made: Sparsifier, path: Path | None) -> History:
        return _train(problem, made, *deepcopy((weighting, aggregator, beside)), path, asked)

    return within_floors(attempt, problem, method, floors, reference, path, tries)


def _train(
    problem: Problem,
    method: Sparsifier,
    weighting: Weighting,
    aggregator: Aggregator | None,
    callbacks: Callbacks,
    path: Path | None,
    asked: Settings,
) -> History:
    """One training, from its beginning or from where its checkpoint stopped."""
    fabric, steps = asked.fabric_of(problem), asked.steps_of(problem)
    total = method.total(steps)
    log_every = asked.log_every or max(1, total // 200)
    checkpoint_every = asked.checkpoint_every or max(1, total // 20)
    validate_every = asked.validations(problem, total, callbacks.validating_ones)
    make, schedule, distillation = asked.optimizer, asked.schedule, asked.distillation
    memory, loader = Memory(aggregator, fabric.device), problem.loader()
    stream = Stream(loader, fabric.global_rank, fabric.world_size)
    stream.check_same(method, weighting, {"seed": asked.seed, "steps": total}, fabric.device)
    if path:
        memory.check()
    fabric.to_device(problem.model)
    seed_all(asked.seed)

    shown = Progress(total, asked.progress and fabric.is_global_zero)
    pruning = Pruning(
        problem, method, weighting, steps=steps, accumulate=asked.accumulate, distillation=distillation
    )
    with callbacks, pruning, shown:
        inner = check_steps(pruning.attach(make(pruning.groups())))
        rates = [group["lr"] for group in inner.param_groups]
        model, stepper = cast(
            "tuple[_FabricModule, _FabricOptimizer]",
            fabric.setup(problem.network, inner, _reapply_compile=False),
        )
        backward = Backward(pruning, model, fabric, aggregator, stream.shared)
        if path and (why := unrepeatable(loader)):
            said = f"fit: a stopped run of this loader will not go on bit for bit: {why}."
            warnings.warn(said, stacklevel=3)
        ledger, history = Ledger(), History()
        parts = {"pruning": pruning, "aggregator": memory, "ledger": ledger} | extra_part(problem.model, path)
        parts |= {"callbacks": callbacks} if callbacks else {}
        decides = {"seed": asked.seed, "schedule": schedule, "distillation": distillation}
        decides |= {"aggregator": aggregator}
        decides = identity_of_training(decides, inner, fabric, loader, stream.shared)
        decides |= callbacks.identity() | ({"accumulate": asked.accumulate} if asked.accumulate > 1 else {})
        course = Course(problem, pruning, history, fabric, model, stepper, validate_every)
        callbacks.start(course, decides)
        tensors = named_tensors(problem.model)
        resumption = Resumption(path, tensors, parts, stream, decides, fabric.is_global_zero, fabric.device)
        pruning.finite.kept = resumption.kept
        if saved := resumption.load(inner):
            pruning.finite.renew()
            history.rows, history.seconds = saved["rows"], saved["seconds"]
            if asked.on_log:
                asked.on_log(history.rows)

        callbacks.begin()
        train_mode(problem.model)
        shown.begin(pruning.done)
        while pruning.done < total and not course.stopped:
            began = time.perf_counter()
            if pruning.turns.between_rounds:  # a new round: a new optimizer, only then
                inner = check_steps(pruning.attach(make(pruning.groups())))
                course.optimizer = stepper = cast("_FabricOptimizer", fabric.setup_optimizers(inner))
            for group, rate in zip(inner.param_groups, rates, strict=True):
                group["lr"] = rate * schedule(pruning.turns.place / steps)

            found = backward.step(stream)
            callbacks.before_step()
            stepper.step()
            pruning.step()
            stepper.zero_grad()
            step = pruning.done
            for terms in found:
                ledger.add(terms.losses, terms.weights)
            callbacks.after_step(found[-1].losses)
            history.seconds += time.perf_counter() - began

            last, fresh = step == total or callbacks.stopping(), len(history.rows)
            saves = path is not None and (step % checkpoint_every == 0 or last)
            logs = step % log_every == 0 or last
            if saves or logs:
                pruning.finite.check_row(inner, saves)
            if logs:
                history.log(ledger.row(), pruning, inner.param_groups[0]["lr"])
            shown(step, lambda: (ledger.means(), history.density(pruning)), logs)
            if validate_every and (step % validate_every == 0 or last):
                same_buffers(problem.model)
                with callbacks.validating(), warnings.catch_warnings():
                    if not last:  # what is dead on the way may yet live
                        warnings.simplefilter("ignore", DeadTaskWarning)
                    history.rows.append({"step": step, "val": evaluate(problem, "val")})
                    callbacks.validated(history.rows[-1]["val"])
            if len(history.rows) > fresh:
                callbacks.logged(history.rows[fresh:])
                if asked.on_log:
                    asked.on_log(history.rows)
                if callbacks.stopping() and path is not None and not saves:
                    saves = True
                    pruning.finite.check(inner.state_dict()["state"])
            if saves:
                resumption.save(step, inner, history.rows, history.seconds)

        if course.stopped:
            shown.stop(pruning.done, course.stopped)
        callbacks.finish()
        pruning.leave(early=bool(course.stopped))
        if asked.recalibrate is not None:
            recalibrate(problem, asked.recalibrate)
            same_buffers(problem.model)
            pruning.finite.check()
        callbacks.end()
    history.skipped, history.ignored = pruning.labels.skipped, pruning.labels.ignored
    return history
