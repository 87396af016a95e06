"""The optimizer that training uses unless told otherwise, and the groups that it gets."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import nn
from torch.optim import Optimizer

from secateur.problem import Problem
from secateur.training.several import Several

MakeOptimizer = Callable[[list[dict[str, Any]]], Optimizer | Sequence[Optimizer]]


def adam(
    lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), weight_decay: float = 0.0
) -> MakeOptimizer:
    """Adam in its fused form (five times faster than torch's default on a CPU), or not where weights are complex; the decay is coupled L2."""

    def make(groups: list[dict[str, Any]]) -> Optimizer:
        fused = all(p.is_floating_point() for group in groups for p in group["params"])
        return torch.optim.Adam(groups, lr=lr, betas=betas, weight_decay=weight_decay, fused=fused)

    return make


def groups(problem: Problem, extra: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The model's parameters, and the groups that method and weighting ask for."""
    special = {id(p) for group in extra for p in group["params"]}
    own = [p for p in problem.model.parameters() if p.requires_grad and id(p) not in special]
    return [{"params": own}, *({**group, "params": list(group["params"])} for group in extra)]


def check_make(make: Any) -> None:
    """Raises ValueError if ``make`` is no function of parameter groups, such as an optimizer that is made already."""
    if isinstance(make, Optimizer) or not callable(make):
        kind = type(make).__name__
        given = f"{kind}, an optimizer that is made already" if isinstance(make, Optimizer) else repr(make)
        name = kind if isinstance(make, Optimizer) else "AdamW"
        raise ValueError(
            f"fit: optimizer is {given}; methods and weightings train parameters of their own beside the model's, so give a function "
            f"of the groups: optimizer=lambda groups: torch.optim.{name}(groups, lr=1e-3), or functools.partial of a class."
        )


def check_steps(optimizer: Optimizer) -> Optimizer:
    """The optimizer; ValueError if it computes the loss itself, as LBFGS does, which a loop with one backward pass a step has no place for."""
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise ValueError(
            f"fit: {type(optimizer).__name__} computes the loss itself, several times a step; give an optimizer that steps by itself, such as "
            "AdamW. In a loop of your own it works under secateur.Pruning where it is called once a step."
        )
    return optimizer


def inside(optimizer: Any) -> Optimizer:
    """The optimizer inside a wrapper such as that of accelerate or of Lightning; several in a list as one.

    Raises:
        ValueError: If there is none, or two train one parameter.
    """
    if isinstance(optimizer, (list, tuple)):
        given = cast("list[Any]", optimizer)
        parts = [inside(one) for one in given]
        return parts[0] if len(parts) == 1 else Several(parts, given)
    while isinstance(inner := getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = inner
    if not isinstance(optimizer, Optimizer):
        raise ValueError(
            f"The optimizer is {type(optimizer).__name__}; it must be a torch.optim.Optimizer made of the groups that it is given, "
            "such as torch.optim.AdamW(groups, lr=1e-3)."
        )
    return optimizer


def check_groups(model: nn.Module, wanted: list[dict[str, Any]], optimizer: Optimizer) -> None:
    """Checks that an optimizer trains all that it was given, as it was given.

    Args:
        model: For the names of its parameters.
        wanted: The groups, of :func:`groups`.
        optimizer: What was made of them.

    Raises:
        ValueError: If a parameter is missing, or a setting that came with its group is another.
    """
    held = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    names = {id(p): name for name, p in model.named_parameters()}
    kind = type(optimizer).__name__
    missing = [p for group in wanted for p in group["params"] if id(p) not in held]
    if missing:
        named = [names[id(p)] for p in missing if id(p) in names]
        others = len(missing) - len(named)
        said = [*named[:3], *([f"{len(named) - 3} more of the model"] if len(named) > 3 else [])]
        said += [f"{others} of the method's or the weighting's own"] if others else []
        raise ValueError(
            f"The optimizer ({kind}) lacks parameters that training needs: {', '.join(said)}. Make it of the groups that it is "
            "given: torch.optim.AdamW(groups, lr=...), not of model.parameters(); where several optimizers share them, give all of "
            "them in one list."
        )
    for group in wanted:
        for key in group.keys() - {"params"}:
            for p in group["params"]:
                if held[id(p)].get(key) != group[key]:
                    raise ValueError(
                        f"The optimizer ({kind}) has {key} = {held[id(p)].get(key)} for {names.get(id(p), 'a parameter of ours')}, "
                        f"which its group asks to be {group[key]}. Hand the groups on as they are."
                    )
