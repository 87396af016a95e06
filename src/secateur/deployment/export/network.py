"""The user's model as something to trace: a copy, tensors in, a tuple of the wanted predictions out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from secateur.problem import Call, Input, RemediedError, called, described, preserved_rng, taking
from secateur.pruning import check_done
from secateur.shrinking import plain


@dataclass(frozen=True)
class Network:
    """A copy of the model on the CPU, in eval mode and float32, its weights plain, for the wanted tasks.

    Args:
        module: Tensors in the order of ``inputs`` to a tuple of predictions in the order of ``tasks``.
        tasks: Names of the predictions.
        inputs: Name of each input in the file to the task it is for, or its name in the mapping that serves all tasks;
            None when it is one tensor.
        example: A tensor per input.
    """

    module: nn.Module
    tasks: tuple[str, ...]
    inputs: dict[str, str | None]
    example: tuple[Tensor, ...]

    def listed(self, x: Input) -> tuple[Tensor, ...]:
        """``x`` as the tensors that ``module`` takes."""
        if isinstance(x, Tensor):
            return (_plain(x),)
        return tuple(_plain(x[task]) for task in self.inputs.values() if task is not None)

    def named(self) -> dict[str, Tensor]:
        """The example by the names of its inputs."""
        return dict(zip(self.inputs, self.example, strict=True))

    def by_name(self, module: nn.Module, x: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Predictions by task of inputs by name."""
        return dict(zip(self.tasks, module(*x.values()), strict=True))

    def predict(self, tensors: Sequence[Tensor]) -> dict[str, Tensor]:
        """Predictions by task; random state is left as it was."""
        with torch.no_grad(), preserved_rng():
            return dict(zip(self.tasks, self.module(*tensors), strict=True))


def network(
    model: nn.Module, example: Input, tasks: Sequence[str] | None, call: Call | None = None
) -> Network:
    """Copies ``model`` and checks that it does the tasks.

    Raises:
        ValueError: If the model is being pruned, cannot be copied, does not return ``{task: tensor}``, or
            does not do one of ``tasks``.
    """
    check_done(model, "export")
    try:
        copied = called(plain(model)[0].cpu().float().eval(), call)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"export: the model cannot be copied ({error}); keep no open files, locks or tensors with a gradient "
            "history in its attributes."
        ) from error
    given: Any = example
    if not isinstance(given, (Tensor, Mapping)):
        raise ValueError(
            f"export: example is {described(given)}; give a tensor, or {{name: tensor}}, which call may hand on as the model takes it."
        )
    found = _predictions(copied, example, tasks)
    chosen = tuple(dict.fromkeys(found if tasks is None else tasks))
    unknown = [task for task in chosen if task not in found]
    if unknown or not chosen:
        raise ValueError(f"export: tasks is {list(chosen)}; choose from the model's tasks {sorted(found)}.")
    if isinstance(example, Tensor):
        inputs: dict[str, str | None] = {_free("input", chosen): None}
    else:
        apart = set(example) <= set(
            found
        )  # an input for each task; otherwise several tensors for all of them
        names = [name for name in example if name in chosen] if apart else list(example)
        inputs = {_free(f"input_{name}" if apart else name, chosen): name for name in names}
    made = Network(_Tuple(copied, chosen, tuple(inputs.values())), chosen, inputs, ())
    return Network(made.module, chosen, inputs, made.listed(example))


class _Tuple(nn.Module):
    def __init__(self, model: nn.Module, tasks: tuple[str, ...], owners: tuple[str | None, ...]) -> None:
        super().__init__()
        self.model = model
        self.tasks = tasks
        self.owners = owners

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        x: Any = tensors[0] if self.owners == (None,) else dict(zip(self.owners, tensors, strict=True))
        found = self.model(x)
        return tuple(found[task] for task in self.tasks)


def _predictions(model: nn.Module, example: Input, tasks: Sequence[str] | None) -> Mapping[str, Tensor]:
    x = _plain(example) if isinstance(example, Tensor) else {task: _plain(t) for task, t in example.items()}
    with taking("export", example), torch.no_grad(), preserved_rng():
        found: Any = model(x)
    if not isinstance(found, Mapping) or not found:
        raise RemediedError(
            f"export: the model returned {described(found)}; it must return a dict {{task: prediction}},",
            "or call=lambda model, x: {task: ...} must.",
            "or a module of your own around it.",
        )
    kept = {task: value for task, value in found.items() if isinstance(value, Tensor)}
    missing = [task for task in tasks or () if task in found and task not in kept]
    if missing or not kept:
        task = missing[0] if missing else next(iter(found))
        raise RemediedError(
            f"export: the prediction of {task!r} is {described(found[task])}; it must be a tensor:",
            f"call=lambda model, x: {{{task!r}: ...}}.",
            "let the forward pass return one.",
        )
    return kept


def _plain(x: Tensor) -> Tensor:
    x = x.detach().cpu()
    return (x.float() if x.is_floating_point() else x).contiguous()


def _free(name: str, taken: Sequence[str]) -> str:
    return _free(f"{name}_", taken) if name in taken else name
