"""Which tasks own a parameter: read off the autograd graph of each task's prediction."""

from __future__ import annotations

from collections.abc import Container, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from secateur.problem.given import check_rereadable
from secateur.problem.problem import Input, Problem, apart, to_device
from secateur.problem.samplers import undrawn
from secateur.problem.state import looking


def find_owners(problem: Problem) -> dict[str, frozenset[str]]:
    """Parameter name to the tasks whose prediction depends on it; see :attr:`secateur.Problem.owners`."""
    model, unseen, empty = problem.model, set(problem.tasks), True
    names = {id(p): name for name, p in model.named_parameters()}
    found: dict[str, set[str]] = {name: set() for name in names.values()}
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    untouched = undrawn(problem.loader())
    with looking(model), untouched, torch.enable_grad(), differentiable(model.parameters()):
        model.eval()
        check_rereadable(problem)
        for x, targets in problem.batches():
            empty = False
            for part, named in _one_by_one(x, targets, problem.tasks, unseen):
                predictions = problem.predict(to_device(part, device), named)
                for task in sorted(unseen & set(predictions)):
                    for parameter in _reached(predictions[task], model):
                        if id(parameter) in names:
                            found[names[id(parameter)]].add(task)
                        elif isinstance(parameter, nn.Parameter):
                            raise ValueError(_unlisted(model, task, parameter))
                unseen -= set(predictions)
            if not unseen:
                break
    if empty:
        raise ValueError(
            "The training loader gave no batch; look at how many samples its data set has, and whether drop_last leaves out the only batch."
        )
    if unseen:
        raise ValueError(
            f"No training batch has a target for {sorted(unseen)}; check the loader or drop the task."
        )
    return {name: frozenset(tasks) for name, tasks in found.items()}


def frozen_tasks(problem: Problem) -> set[str]:
    """Tasks whose prediction depends on parameters, all of which are frozen."""
    named = dict(problem.model.named_parameters())
    reached = frozenset[str]().union(*problem.owners.values())
    return set(
        reached.difference(*(own for name, own in problem.owners.items() if named[name].requires_grad))
    )


@contextmanager
def differentiable(parameters: Iterable[nn.Parameter]) -> Generator[None]:
    """Inside, frozen ones have gradients too: who owns them and what they are worth does not hang on whether they are trained now."""
    frozen = [p for p in parameters if not p.requires_grad and p.is_floating_point()]
    try:
        for parameter in frozen:
            parameter.requires_grad_(True)
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)


def unlisted(model: nn.Module) -> list[str]:
    """Names of plain dicts and lists that hold weights which are none of the model's parameters and buffers, so no file has them."""
    own = {id(tensor) for tensor in (*model.parameters(), *model.buffers())}
    return [
        name
        for name, held in _plain_containers(model)
        if any(id(tensor) not in own for item in held for tensor in _tensors(item))
    ]


def _one_by_one(
    x: Input, targets: Mapping[str, Tensor], tasks: Container[str], unseen: set[str]
) -> list[tuple[Input, Mapping[str, Tensor]]]:
    """Each task's own input by itself, so that inputs mixed in one batch do not make one task depend on another's."""
    if not isinstance(x, Mapping) or not apart(x, tasks):
        return [(x, targets)] if targets else []
    return [({task: x[task]}, {task: targets[task]}) for task in targets if task in unseen and task in x]


def _reached(output: Tensor, model: nn.Module) -> list[Tensor]:
    """Leaf tensors that ``output`` depends on, by a walk over the autograd graph.

    Reentrant checkpoints hide what is inside them from the graph; there, what a backward pass reaches is asked too.
    """
    leaves: list[Tensor] = []
    stack: list[Any] = [output.grad_fn]
    seen: set[Any] = set()
    hidden = False
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        hidden |= node.name() == "CheckpointFunctionBackward"
        if hasattr(node, "variable"):
            leaves.append(node.variable)
        stack.extend(parent for parent, _ in node.next_functions)
    return [*leaves, *_by_gradient(output, model)] if hidden else leaves


def _by_gradient(output: Tensor, model: nn.Module) -> list[nn.Parameter]:
    """The parameters that a backward pass from ``output`` reaches; gradients are left as they were."""
    kept = {p: p.grad for p in model.parameters()}
    try:
        for parameter in kept:
            parameter.grad = None
        output.float().sum().backward(retain_graph=True)
        return [parameter for parameter in kept if parameter.grad is not None]
    finally:
        for parameter, gradient in kept.items():
            parameter.grad = gradient


def _unlisted(model: nn.Module, task: str, parameter: nn.Parameter) -> str:
    held = ", ".join(name for name, _ in _plain_containers(model)) or "an attribute that is no module"
    return (
        f"Task {task!r} depends on a parameter of shape {tuple(parameter.shape)} that the model does not list, so it would be "
        f"neither trained nor saved. Layers in a plain dict or list are such ({held}); use nn.ModuleDict or nn.ModuleList."
    )


def _tensors(item: Any) -> list[Tensor]:
    if isinstance(item, nn.Module):
        return [*item.parameters(), *item.buffers()]
    return [item] if isinstance(item, nn.Parameter) else []


def _plain_containers(model: nn.Module) -> Iterator[tuple[str, list[Any]]]:
    """Names of dicts, lists and tuples that hold modules or parameters, and what these hold."""
    for prefix, module in model.named_modules():
        for name, value in vars(module).items():
            inside = value.values() if isinstance(value, dict) else value
            named = not name.startswith("_") and isinstance(inside, (list, tuple, type({}.values())))
            if named and any(isinstance(item, (nn.Module, nn.Parameter)) for item in inside):
                yield f"{prefix}.{name}" if prefix else f"self.{name}", list(inside)
