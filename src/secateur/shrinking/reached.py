"""Whether the example has an input for every task, where each task has one of its own."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from secateur.problem import Input, preserved_rng
from secateur.shrinking.compaction import listed
from secateur.shrinking.copying import evaluating


def check_reached(model: nn.Module, example: Input, unreached: Sequence[str]) -> None:
    """A task that is left out would keep layers that no longer fit the shared ones.

    Args:
        model: As ``model(x)`` is called.
        example: Its input.
        unreached: The weights that no input in it reaches.

    Raises:
        ValueError: If a task that is not in ``example`` reaches some of them.

    Warns:
        UserWarning: If no task is found that does.
    """
    if isinstance(example, Tensor) or not unreached:
        return
    other = evaluating(model)
    with torch.no_grad(), preserved_rng():
        outputs: Any = other(example)
    if not isinstance(outputs, Mapping) or set(outputs) != set(example):
        return
    given = f"compact: with inputs for {sorted(example)} alone, these are not reached: {listed(unreached)}; "
    if missing := [task for task in _names(unreached, example) if _reaches(other, example, task, unreached)]:
        raise ValueError(f"{given}give an input for every task of the network, here {missing} too.")
    warnings.warn(
        f"{given}they stay as they are; if a task of the network uses them, give an input for it too.",
        UserWarning,
        stacklevel=3,
    )


def _names(unreached: Sequence[str], example: Mapping[str, Any]) -> Iterator[str]:
    """What a task may be called whose layers have these names, such as ``heads.depth`` or ``depth_head``."""
    parts = [part for name in unreached for part in name.split(".")[:-1]]
    found = [one for part in parts for one in (part, part.partition("_")[0], part.partition("_")[2])]
    yield from (one for one in dict.fromkeys(found) if one and one not in example)


def _reaches(model: nn.Module, example: Mapping[str, Tensor], task: str, unreached: Sequence[str]) -> bool:
    """Whether the network takes an input for ``task`` like one of the others, and runs such layers with it."""
    weights = [p for name, p in model.named_parameters() if name in unreached and p.is_floating_point()]
    for weight in weights:
        weight.requires_grad_()
    for x in example.values():
        try:
            with torch.enable_grad(), preserved_rng():
                found: Any = model({**example, task: x})
                reached: Any = torch.autograd.grad(found[task].sum(), weights, allow_unused=True)
        except Exception:  # whatever the user's code raises of a name that it does not know
            continue
        if any(gradient is not None for gradient in reached):
            return True
    return False
