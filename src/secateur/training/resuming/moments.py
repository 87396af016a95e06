"""An optimizer's state from a file, held against what this optimizer would have itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from secateur.pruning import prox
from secateur.storage import mismatches


def fitting(optimizer: Optimizer, saved: dict[str, Any]) -> dict[str, Any]:
    """``saved``, of ``optimizer.state_dict()``, once it is sure that the optimizer can step on with it.

    A fused step trusts the shapes of its state; with others it writes where it must not. What they should be is asked of
    the optimizer itself: it steps a copy of each parameter once.

    Raises:
        ValueError: If groups or state are others than this optimizer's; nothing is changed.
    """
    here = optimizer.state_dict()["param_groups"]
    if len(here) != len(saved["param_groups"]):
        raise ValueError(
            f"its optimizer has {len(saved['param_groups'])} groups of parameters, not {len(here)}"
        )
    wrong = list(mismatches(here, saved["param_groups"], {}, "optimizer.param_groups"))
    wrong += [
        f"optimizer.param_groups.{i}.params are {theirs['params']}, not {mine['params']}"
        for i, (mine, theirs) in enumerate(zip(here, saved["param_groups"], strict=True))
        if mine["params"] != theirs["params"]
    ]
    places = dict(_places(optimizer))
    wrong += [f"optimizer.state.{i} is of no parameter" for i in saved["state"] if i not in places]
    state: dict[int, Any] = {}
    for index, found in saved["state"].items() if not wrong else ():
        group, parameter = places[index]
        wanted = prox.state_after_step(optimizer, group, parameter)
        if wanted is None:  # it cannot be asked
            state[index] = found
            continue
        wrong += mismatches(wanted, found, {}, f"optimizer.state.{index}")
        state[index] = (
            found if wrong else {key: _laid_out(value, wanted[key]) for key, value in found.items()}
        )
    if wrong:
        raise ValueError(f"{'; '.join(wrong[:3])}{f' and {len(wrong) - 3} more' if len(wrong) > 3 else ''}")
    return {**saved, "state": state}


def _places(optimizer: Optimizer) -> Iterator[tuple[int, tuple[dict[str, Any], Tensor]]]:
    """Number of a parameter in the state to its group and itself."""
    number = 0
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            yield number, (group, parameter)
            number += 1


def _laid_out(value: Any, like: Any) -> Any:
    """A tensor in memory as ``like`` is, sharing with nothing."""
    return (
        torch.empty_like(like).copy_(value)
        if isinstance(value, Tensor) and isinstance(like, Tensor)
        else value
    )
