"""The user's model as something to trace: a copy, tensors in, a tuple of the wanted predictions out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from secateur.deployment.export.kept_state import Kept
from secateur.problem import Call, Input, RemediedError, called, described, preserved_rng, taking
from secateur.pruning import check_done
from secateur.shrinking import check_values, plain


@dataclass(frozen=True)
class Network:
    """A copy of the model on the CPU, in eval mode and float32, its weights plain, for the wanted tasks.

    Args:
        module: Tensors in the order of ``inputs`` to a tuple of predictions in the order of ``tasks``.
        tasks: Names of the predictions.
        inputs: Name of each input in the file to the task it is for, or its name in the mapping that serves all tasks;
            None when it is one tensor.
        example: A tensor per input.
        state: Of the module, as the user's model has it; each forward pass begins with it.
        changing: Buffers that a forward pass changes.
    """

    module: nn.Module
    tasks: tuple[str, ...]
    inputs: dict[str, str | None]
    example: tuple[Tensor, ...]
    state: Kept
    changing: tuple[str, ...]

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
        with self.state.kept():
            return dict(zip(self.tasks, module(*x.values()), strict=True))

    def predict(self, tensors: Sequence[Tensor]) -> dict[str, Tensor]:
        """Predictions by task; random state and buffers are left as they were."""
        with torch.no_grad(), preserved_rng(), self.state.kept():
            found = zip(self.tasks, self.module(*tensors), strict=True)
            return {task: value.clone() if self.changing else value for task, value in found}


def network(
    model: nn.Module, example: Input, tasks: Sequence[str] | None, call: Call | None = None
) -> Network:
    """Copies ``model`` and checks that it does the tasks.

    Raises:
        ValueError: If the model is being pruned, has no values, cannot be copied, does not return ``{task: tensor}``, or
            does not do one of ``tasks``.
    """
    check_values("export", model)
    check_done(model, "export")
    try:
        made = plain(model)[0]
        rounded = {str(p.dtype) for p in made.parameters() if p.is_floating_point()} - {"torch.float32"}
        made.cpu().float()
        made.eval()  # a line of its own: train() of a user's may return nothing
        copied = called(made, call)
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
    state = Kept(made)
    with state.kept():
        found = _predictions(copied, example, tasks, sorted(rounded))
        found = {task: value.clone() for task, value in found.items()}  # a buffer among them is put back
        changing = tuple(state.changed())
    chosen = tuple(dict.fromkeys(found if tasks is None else tasks))
    unknown = [task for task in chosen if task not in found]
    if unknown or not chosen:
        raise ValueError(
            f"export: tasks is {list(chosen)}; choose from the model's tasks {sorted(found, key=str)}."
        )
    _check_names("task", chosen)
    inputs: dict[str, str | None] = {}
    if isinstance(example, Tensor):
        inputs[_free("input", chosen)] = None
    else:
        _check_names("input", example)
        with state.kept():
            own = _own(copied, example, found, chosen)
        for name in example if own is None else own:
            inputs[_free(name if own is None else f"input_{name}", (*chosen, *inputs))] = name
    given = (example,) if isinstance(example, Tensor) else (example[name] for name in inputs.values() if name)
    tensors = tuple(map(_plain, given))
    again = _again({task: found[task] for task in chosen}, tensors)
    module = _Tuple(copied, chosen, tuple(inputs.values()), again)
    return Network(module, chosen, inputs, tensors, state, changing)


def _own(
    model: nn.Module, example: Mapping[str, Tensor], found: Mapping[str, Tensor], chosen: Sequence[str]
) -> list[str] | None:
    """The inputs of the chosen tasks, where each task has its own; None where several tensors are one input of all.

    Tasks that bear the names of inputs (an image that is built again) are no sign: they must be predicted the same without the rest.
    """
    names = [name for name in example if name in chosen]
    if not set(example) <= set(found) or not set(chosen) <= set(example):
        return None
    if len(names) < len(example):
        try:
            with torch.no_grad(), preserved_rng():
                alone = model({name: _plain(example[name]) for name in names})
            if not all(torch.equal(alone[task].nan_to_num(), found[task].nan_to_num()) for task in chosen):
                return None
        except Exception:  # whatever a user's code raises where an input is missing
            return None
    return names


class _Tuple(nn.Module):
    def __init__(
        self, model: nn.Module, tasks: tuple[str, ...], owners: tuple[str | None, ...], again: frozenset[str]
    ) -> None:
        super().__init__()
        self.model = model
        self.tasks = tasks
        self.owners = owners
        self.again = again

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        x: Any = tensors[0] if self.owners == (None,) else dict(zip(self.owners, tensors, strict=True))
        found = self.model(x)
        return tuple(_anew(found[task]) if task in self.again else found[task] for task in self.tasks)


def _again(outputs: Mapping[str, Tensor], inputs: Iterable[Tensor]) -> frozenset[str]:
    """Outputs that are an input, or an output before them; by their values, since an engine may see through a copy."""
    before, found = list(inputs), set[str]()
    for task, value in outputs.items():
        if any(
            (value.shape, value.dtype) == (other.shape, other.dtype)
            and torch.equal(value.nan_to_num(), other.nan_to_num())
            for other in before
        ):
            found.add(task)
        before.append(value)
    return frozenset(found)


def _anew(value: Tensor) -> Tensor:
    """The same as a tensor of its own, which OpenVINO wants each output to be; it takes a clone for the tensor itself."""
    return value.logical_and(value) if value.dtype == torch.bool else value * 1


def _predictions(
    model: nn.Module, example: Input, tasks: Sequence[str] | None, rounded: Sequence[str]
) -> Mapping[str, Tensor]:
    x = _plain(example) if isinstance(example, Tensor) else {task: _plain(t) for task, t in example.items()}
    try:
        with taking("export", example), torch.no_grad(), preserved_rng():
            found: Any = model(x)
    except RemediedError as error:
        if not rounded or not isinstance(error.__cause__, (RuntimeError, TypeError)):
            raise
        raise RemediedError(
            f"{error.what} export runs in float32, where the model has weights in {' and '.join(rounded)}: a cast or a tensor of that "
            "type in its code stands in the way;",
            "cast to the dtype of a weight instead (x.to(self.conv.weight.dtype)), or register the tensor as a buffer.",
        ) from error.__cause__
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
    if x.is_meta:
        raise ValueError(
            "export: an input lies on the meta device and has no values; give one on the CPU, such as a batch of the data."
        )
    x = x.detach().cpu()
    return (x.float() if x.is_floating_point() else x).contiguous()


def _check_names(kind: str, names: Iterable[Any]) -> None:
    """Raises ValueError unless all are text that a file can hold."""
    for name in names:
        if not isinstance(name, str) or not name or not name.isprintable():
            raise ValueError(
                f"export: the {kind} {name!r} has no name that a file can hold; let it be some letters, "
                f"as call=lambda model, x: {{'{kind}_{name if isinstance(name, int) else 0}': ...}} can."
            )


def _free(name: str, taken: Sequence[str]) -> str:
    return _free(f"{name}_", taken) if name in taken else name
