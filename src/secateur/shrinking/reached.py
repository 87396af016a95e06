"""Whether the example has an input for every task, where each task has one of its own."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from secateur.problem import Input, preserved_rng
from secateur.shrinking.channels import Channels, removed_sizes
from secateur.shrinking.compaction import listed
from secateur.shrinking.copying import evaluating

_MOST = 100  # names that are tried of one attribute


def check_reached(model: nn.Module, example: Input, unreached: Sequence[str]) -> str:
    """A task that is left out would keep layers that no longer fit the shared ones.

    Args:
        model: As ``model(x)`` is called.
        example: Its input.
        unreached: The weights that no input in it reaches.

    Returns:
        What is not reached, in words, where it may be a task's that is not found; else nothing.

    Raises:
        ValueError: If a task that is not in ``example`` reaches some of them.
    """
    if isinstance(example, Tensor) or not unreached:
        return ""
    other = evaluating(model)
    with torch.no_grad(), preserved_rng():
        outputs: Any = other(example)
    if not isinstance(outputs, Mapping) or set(outputs) != set(example):
        return ""
    given = f"compact: with inputs for {sorted(example, key=str)} alone, these are not reached: {listed(unreached)}; "
    names = _names(other, unreached, example)
    if missing := [task for task in names if _reaches(other, example, task, unreached)]:
        raise ValueError(f"{given}give an input for every task of the network, here {missing} too.")
    return given


def check_fits(
    model: nn.Module, given: str, unreached: Sequence[str], channels: Channels, keep: Tensor
) -> None:
    """Layers that no trace reaches must fit what goes into them, if anything does.

    Args:
        model: The original.
        given: As :func:`check_reached` says it.
        unreached: The weights that no input reaches.
        channels: The labels of the original.
        keep: Which of them are left, (labels,).

    Raises:
        ValueError: If one takes as many channels as there were somewhere before some of them went.

    Warns:
        UserWarning: If none does.
    """
    if not given:
        return
    cut = removed_sizes(channels, keep)
    if misfits := [name for name in unreached if _takes(model, name) in cut]:
        raise ValueError(
            f"{given}{listed(misfits)} may not fit the layers before, of which channels go. Give an input for every task of "
            "the network, or take out of it what no task uses."
        )
    warnings.warn(
        f"{given}they stay as they are; if a task of the network uses them, give an input for it too.",
        UserWarning,
        stacklevel=3,
    )


def _takes(model: nn.Module, name: str) -> int:
    """How many channels the layer of a weight takes."""
    module: Any = model.get_submodule(name.rpartition(".")[0])
    size = getattr(module, "in_channels", None)
    return size if isinstance(size, int) else dict(model.named_parameters())[name].shape[1]


def _names(model: nn.Module, unreached: Sequence[str], example: Mapping[str, Any]) -> Iterator[str]:
    """What a task may be called: as the model's attributes say, or as layers like ``heads.depth`` or ``depth_head``."""
    parts = [part for name in unreached for part in name.split(".")[:-1]]
    found: list[Any] = [
        one for part in parts for one in (part, part.partition("_")[0], part.partition("_")[2])
    ]
    for module in model.modules():
        for name, value in vars(module).items():
            held = isinstance(value, (Mapping, list, tuple, set)) and not name.startswith("_")
            if held and len(cast(list[Any], value)) <= _MOST:  # no vocabulary
                found += cast(list[Any], value)
    names = dict.fromkeys(one for one in found if isinstance(one, str) and one)
    yield from (one for one in names if one not in example)


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
