"""Whether the example has an input for every task, where each task has one of its own."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from secateur.problem import Input, preserved_rng
from secateur.shrinking.channels import Channels, removed_sizes
from secateur.shrinking.copying import evaluating
from secateur.shrinking.names import listed

_MOST = 100  # names that are tried of one attribute


@dataclass(frozen=True)
class Unreached:
    """Weights that no input in the example reaches, where each task has an input of its own.

    Args:
        names: Of the weights; none where nothing is to be said.
        tasks: What the example has inputs for.
        named: Whether the network names these tasks; then one that reached such a weight would have been found by its name.
    """

    names: Sequence[str] = ()
    tasks: Sequence[str] = ()
    named: bool = False

    def text(self, verb: str) -> str:
        """What is not reached, in words."""
        return (
            f"{verb}: with inputs for {list(self.tasks)} alone, these are not reached: {listed(self.names)}; "
        )


def check_reached(verb: str, model: nn.Module, example: Input, unreached: Sequence[str]) -> Unreached:
    """A task that is left out would keep layers that no longer fit the shared ones.

    Args:
        verb: Who asks.
        model: As ``model(x)`` is called.
        example: Its input.
        unreached: The weights that no input in it reaches.

    Returns:
        What is not reached, where it may be a task's that is not found.

    Raises:
        ValueError: If a task that is not in ``example`` reaches some of them.
    """
    if isinstance(example, Tensor) or not unreached:
        return Unreached()
    other = evaluating(model)
    with torch.no_grad(), preserved_rng():
        outputs: Any = other(example)
    if not isinstance(outputs, Mapping) or set(outputs) != set(example):
        return Unreached()
    every = _names(other, [name for name, _ in other.named_parameters()])
    found = Unreached(unreached, sorted(example, key=str), set(example) <= set(every))
    names = [name for name in _names(other, unreached) if name not in example]
    if missing := [task for task in names if _reaches(other, example, task, unreached)]:
        raise ValueError(
            f"{found.text(verb)}give an input for every task of the network, here {missing} too."
        )
    return found


def check_fits(
    verb: str, model: nn.Module, unreached: Unreached, channels: Channels, keep: Tensor
) -> list[str]:
    """Layers that no trace reaches must fit what goes into them, if anything does.

    Args:
        verb: Who asks.
        model: The original.
        unreached: As of :func:`check_reached`.
        channels: The labels of the original.
        keep: Which of them are left, (labels,).

    Returns:
        Those that take as many channels as there were somewhere before some of them went.

    Raises:
        ValueError: If there are such, and they may be a task's.
    """
    cut = removed_sizes(channels, keep) if unreached.names else set()
    misfits = [name for name in unreached.names if _takes(model, name) in cut]
    if misfits and not unreached.named:
        raise ValueError(
            f"{unreached.text(verb)}{listed(misfits)} may not fit the layers before, of which channels go. Give an input for every task of "
            "the network, or take out of it what no task uses."
        )
    return misfits


def say_unreached(unreached: Unreached, misfits: Sequence[str]) -> None:
    """Warns that such layers stay as they are, and which may not fit the layers before."""
    if not unreached.names:
        return
    fits = f"; {listed(misfits)} may not fit the layers before, of which channels went" if misfits else ""
    warnings.warn(
        f"{unreached.text('compact')}they stay as they are{fits}; if a task of the network uses them, give an input for it too.",
        UserWarning,
        stacklevel=3,
    )


def _takes(model: nn.Module, name: str) -> int:
    """How many channels the layer of a weight takes."""
    module: Any = model.get_submodule(name.rpartition(".")[0])
    size = getattr(module, "in_channels", None)
    return size if isinstance(size, int) else dict(model.named_parameters())[name].shape[1]


def _names(model: nn.Module, weights: Sequence[str]) -> dict[str, None]:
    """What a task may be called: as the model's attributes say, or as layers like ``heads.depth`` or ``depth_head``."""
    parts = [part for name in weights for part in name.split(".")[:-1]]
    found: list[Any] = [
        one for part in parts for one in (part, part.partition("_")[0], part.partition("_")[2])
    ]
    for module in model.modules():
        for name, value in vars(module).items():
            held = isinstance(value, (Mapping, list, tuple, set)) and not name.startswith("_")
            if held and len(cast(list[Any], value)) <= _MOST:  # no vocabulary
                found += cast(list[Any], value)
    return dict.fromkeys(one for one in found if isinstance(one, str) and one)


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
