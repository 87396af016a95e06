"""The losses of a batch that several processes have a share of, as one process would compute them on all of it.

A mean over valid labels is not the mean of the processes' means. So a task that says how many labels its loss is a mean over
(``Task.count``) has its loss there weighed by them, and a pair of numbers is exchanged; of any other task predictions and targets
are put together, and every process computes the loss of them all, with a gradient by its own share. DDP averages gradients;
so each process's is multiplied by their number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, distributed

from secateur.problem.forms import described
from secateur.problem.losses import task_losses
from secateur.problem.problem import Task

_DTYPES = (
    torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.bool,
)  # fmt: skip
_AXES = 8
_ALIGNED = 16  # bytes, so that any dtype can be read where a piece begins


@dataclass(frozen=True)
class Shared:
    """Losses of the whole batch.

    Args:
        losses: Task to its loss, for the tasks that this process has: the whole batch's value, and the gradient of its share
            times the number of processes.
        known: Task to the same value without a gradient, for the tasks that any process has.
        asked: Tasks that have a target in any process.
    """

    losses: dict[str, Tensor]
    known: dict[str, Tensor]
    asked: list[str]


@dataclass(frozen=True)
class Whole:
    """Computes them; every process must ask, for each batch.

    Args:
        tasks: Their losses and counts.
        device: Of the training.
    """

    tasks: Mapping[str, Task]
    device: torch.device

    def __call__(self, predictions: Mapping[str, Tensor], targets: Mapping[str, Any]) -> Shared:
        """The losses of a batch, given this process's share: ``{task: prediction}`` and ``{task: target}``.

        Raises:
            ValueError: If predictions of a task that has no ``count`` cannot be put together.
        """
        counted = {t: p for t, p in predictions.items() if self.tasks[t].count is not None}
        others = {t: p for t, p in predictions.items() if t not in counted}
        losses = task_losses(counted, targets, self.tasks)
        rows = torch.zeros(
            len(self.tasks), 4, dtype=torch.float64
        )  # (tasks, [sum, count, has it, was asked])
        rows = rows.to(self.device)
        for row, (name, task) in zip(rows, self.tasks.items(), strict=True):
            row[3] = name in counted
            if name in losses and task.count is not None:
                row[1] = _number(name, task.count(counted[name], targets[name]))
                row[0], row[2] = losses[name].detach() * row[1], 1.0
        own = rows[:, 1].clone()
        distributed.all_reduce(rows)
        has, asked = rows[:, 2:].t().tolist()
        shared = Shared({}, {}, [t for t, found in zip(self.tasks, asked, strict=True) if found])
        for i, name in enumerate(self.tasks):
            total = rows[i, 1].clamp(min=1e-12)
            if has[i]:
                dtype = losses[name].dtype if name in losses else torch.float32
                shared.known[name] = (rows[i, 0] / total).to(dtype)
            if name in losses:
                part = (own[i] / total).to(losses[name].dtype) * losses[name]
                shared.losses[name] = as_one(part, shared.known[name])
        if any(task.count is None for task in self.tasks.values()):
            whole, truths = self._put_together(others, targets)
            found = task_losses(whole, truths, self.tasks, joined=True)
            shared.losses.update({t: loss for t, loss in found.items() if t in others})
            shared.known.update({t: loss.detach() for t, loss in found.items()})
            shared.asked.extend(whole)
        return Shared(
            {t: shared.losses[t] for t in self.tasks if t in shared.losses},
            {t: shared.known[t] for t in self.tasks if t in shared.known},
            [t for t in self.tasks if t in shared.asked],
        )

    def _put_together(
        self, predictions: Mapping[str, Tensor], targets: Mapping[str, Any]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Predictions and targets of all processes, one after the other; the own ones keep their history."""
        names = [t for t, task in self.tasks.items() if task.count is None]
        for name, prediction in predictions.items():
            _check(name, prediction, targets[name])
        own = {
            f"{t} {i}": v
            for t in names
            if t in predictions
            for i, v in enumerate((predictions[t], targets[t]))
        }
        keys = [f"{t} {i}" for t in names for i in (0, 1)]
        head = torch.tensor([_form(own.get(key)) for key in keys], device=self.device)
        forms = [h.tolist() for h in _gathered(head)]  # (processes, tensors, axes)
        for i, key in enumerate(keys):
            there = [form[i] for form in forms if form[i][0] >= 0]
            if len({(f[0], f[1], *f[3:]) for f in there}) > 1:
                raise ValueError(
                    f"Task {key.rsplit(' ', 1)[0]!r}: processes have tensors of {[f[2 : 2 + f[1]] for f in there]}, which cannot be put "
                    "together for the loss of the whole batch; give Task(..., count=), the number of labels its loss is a mean over."
                )
        sizes = [[_bytes(form) for form in each] for each in forms]
        sent = torch.zeros(max(map(sum, sizes)), dtype=torch.uint8, device=self.device)
        start = 0
        for i, key in enumerate(keys):
            if key in own:
                raw = own[key].detach().contiguous().flatten().view(torch.uint8)
                sent[start : start + len(raw)] = raw
                start += sizes[distributed.get_rank()][i]
        pieces: dict[str, list[Tensor]] = {key: [] for key in keys}
        for rank, content in enumerate(_gathered(sent)):
            start = 0
            for i, key in enumerate(keys):
                code, axes, *shape = forms[rank][i]
                if code >= 0 and rank == distributed.get_rank():
                    mine = own[key]
                    pieces[key].append(as_one(mine, mine.detach()) if mine.requires_grad else mine)
                elif code >= 0:
                    raw = content[start : start + _plain_bytes(forms[rank][i])]
                    pieces[key].append(raw.view(_DTYPES[code]).view(shape[:axes]))
                start += sizes[rank][i]
        joined = {key: torch.cat(found) for key, found in pieces.items() if found}
        return (
            {t: joined[f"{t} 0"] for t in names if f"{t} 0" in joined},
            {t: joined[f"{t} 1"] for t in names if f"{t} 1" in joined},
        )


def as_one(part: Tensor, whole: Tensor) -> Tensor:
    """The value of ``whole``, which is made of all processes', with the gradient of ``part``, this one's, times their number."""
    return cast(Tensor, _AsOne.apply(part, whole))


class _AsOne(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, part: Tensor, whole: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return whole.clone()

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return slope * distributed.get_world_size(), None


def _gathered(value: Tensor) -> list[Tensor]:
    found = [torch.empty_like(value) for _ in range(distributed.get_world_size())]
    distributed.all_gather(found, value)
    return found


def _form(value: Tensor | None) -> list[int]:
    """Dtype, number of axes and shape as numbers; a dtype of -1 for none."""
    if value is None:
        return [-1, 0, *[0] * _AXES]
    return [_DTYPES.index(value.dtype), value.dim(), *value.shape, *[0] * (_AXES - value.dim())]


def _plain_bytes(form: list[int]) -> int:
    count = 1
    for size in form[2 : 2 + form[1]]:
        count *= size
    return count * _DTYPES[form[0]].itemsize


def _bytes(form: list[int]) -> int:
    return 0 if form[0] < 0 else -(-_plain_bytes(form) // _ALIGNED) * _ALIGNED


def _number(task: str, found: Any) -> Tensor:
    value = torch.as_tensor(found).detach()
    if value.numel() != 1:
        raise ValueError(
            f"Task {task!r}: count gave {described(found)}; it must give one number, of labels in the batch."
        )
    return value.reshape(())


def _check(task: str, prediction: Tensor, target: Any) -> None:
    fit = [
        isinstance(v, Tensor) and v.dtype in _DTYPES and 1 <= v.dim() <= _AXES for v in (prediction, target)
    ]
    if not all(fit) or len(prediction) != len(cast(Tensor, target)):
        raise ValueError(
            f"Task {task!r}: the prediction, {described(prediction)}, and the target, {described(target)}, have no samples along "
            "their first axis, so those of several processes cannot be put together for the loss of the whole batch; give "
            "Task(..., count=), the number of labels its loss is a mean over."
        )
