"""Which blocks of a backbone the tasks share: the upper ones, the lower ones, or none (Zhang et al., arXiv 2107.11359).

With separate bottom layers each task, such as a visual domain, has its own lower blocks and all share the upper ones; the usual
hard parameter sharing is the other way round. A block that is shared above separate ones is run once for each task: on one image for
all tasks that costs as many passes as there are tasks, so separate bottoms are for tasks with images of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]

from secateur.zoo.blocks import Blocks
from secateur.zoo.by_task import by_task

Norm = Literal["separate", "shared"]
Side = Literal["bottom", "top"]


class HardSharing(nn.Module):
    """A chain of blocks of which each task has its own copy of some, and a head per task.

    Args:
        make: Returns the chain, freshly initialised, first block first; called once for what is shared and once a task.
        heads: Task to its head.
        split: Number of blocks below the split.
        own: Which side each task has for itself.
        norm: BatchNorm of the shared blocks: ``"shared"``, all tasks' images go through the shared blocks as one batch, so that its
            statistics are those of all; or ``"separate"``, for each task, with statistics of its images alone.

    Raises:
        ValueError: If ``split`` is not a number of blocks of the chain, or ``own``, ``norm`` or the name of a task cannot be.
    """

    def __init__(
        self,
        make: Callable[[], Blocks],
        heads: Mapping[str, nn.Module],
        split: int,
        own: Side,
        norm: Norm = "shared",
    ) -> None:
        super().__init__()
        for name, value, known in (("own", own, get_args(Side)), ("norm", norm, get_args(Norm))):
            if value not in known:
                raise ValueError(f"{name} is {value!r}; choose one of {list(known)}.")
        named = by_task(heads)  # which refuses names; its place among the parts is the last
        blocks = make()
        if not 0 <= split <= len(blocks):
            raise ValueError(f"split is {split}; the backbone has the blocks {list(blocks)}.")
        below, above = list(blocks)[:split], list(blocks)[split:]
        mine, ours = (below, above) if own == "bottom" else (above, below)
        self._bottom = own == "bottom"
        self.shared = nn.Sequential()
        for name in ours:
            self.shared.add_module(name, blocks[name])
        if norm == "separate":
            separate_norms(self.shared, list(heads))
        self.own = nn.ModuleDict()
        for number, task in enumerate(heads):
            copy = blocks if number == 0 else make()
            self.own[task] = nn.Sequential()
            for name in mine:
                self.own[task].add_module(name, copy[name])
        self.heads = named
        self._together = norm == "shared" and len(self.shared) > 0

    def forward(self, x: Tensor | Mapping[str, Tensor]) -> dict[str, Tensor]:
        """``{task: (N_t, 3, H, W)}``, or one image batch for all tasks -> ``{task: prediction}``.

        Raises:
            ValueError: If there are images for a task without a head.
        """
        if isinstance(x, Tensor) and self._together and not self._bottom:  # computed once for all
            shared = self.shared(x)
            return {task: head(self.own[task](shared)) for task, head in self.heads.items()}
        images = dict.fromkeys(self.heads, x) if isinstance(x, Tensor) else x
        unknown = sorted(set(images) - set(self.heads))
        if unknown:
            raise ValueError(f"There are images for {unknown}; the network's tasks are {list(self.heads)}.")
        if self._bottom:
            features = self._through_shared({task: self.own[task](image) for task, image in images.items()})
        else:
            shared = self._through_shared(images)
            features = {task: self.own[task](feature) for task, feature in shared.items()}
        return {task: self.heads[task](feature) for task, feature in features.items()}

    def _through_shared(self, x: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if self._together and len(x) > 1 and self._counting():
            shapes = {task: tuple(part.shape[1:]) for task, part in x.items()}
            if len(set(shapes.values())) > 1:
                raise ValueError(
                    f"Shared BatchNorm takes the images of all tasks as one batch, but here they are {shapes}; give images "
                    "of one size, or norm='separate'."
                )
            mixed = self.shared(torch.cat(list(x.values())))
            return dict(zip(x, mixed.split([len(part) for part in x.values()]), strict=True))
        return {task: self._for_task(task)(part) for task, part in x.items()}

    def _counting(self) -> bool:
        """Whether a BatchNorm takes its statistics from this batch, which is then that of all tasks."""
        return any(m.training for m in self.shared.modules() if isinstance(m, _BatchNorm))

    def _for_task(self, task: str) -> nn.Module:
        for module in self.shared.modules():
            if isinstance(module, TaskNorm):
                module.task = task
        return self.shared


class TaskNorm(nn.Module):
    """One BatchNorm for each task; ``task`` says whose turn it is."""

    def __init__(self, norm: nn.Module, tasks: Sequence[str]) -> None:
        super().__init__()
        self.norms = by_task({task: deepcopy(norm) for task in tasks})
        self.task = tasks[0]

    def forward(self, x: Tensor) -> Tensor:
        """As the norm of ``task`` does."""
        return self.norms[self.task](x)


def separate_norms(network: nn.Module, tasks: Sequence[str]) -> None:
    """Replaces every BatchNorm in ``network`` by a :class:`TaskNorm`, in place."""
    for name, module in list(network.named_modules()):
        if isinstance(module, _BatchNorm):
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, TaskNorm(module, tasks))


def split_at(blocks: Blocks, split: str | int) -> int:
    """Number of blocks below ``split``: the name of the first block above it, or of its stage, or that number itself.

    Raises:
        ValueError: If there is no such block.
    """
    names = list(blocks)
    if isinstance(split, str) and not split.isdigit():
        found = [n for n, name in enumerate(names) if name == split or name.startswith(f"{split}_")]
        if not found:
            raise ValueError(f"split is {split!r}; give one of the blocks {names}, or a number of blocks.")
        return found[0]
    number = int(split)
    if not 0 <= number <= len(names):
        raise ValueError(f"split is {number}; give 0 to {len(names)}, or one of the blocks {names}.")
    return number


def match_budget(blocks: Blocks, split: str | int, norm: Norm = "shared") -> int:
    """The split at which own top blocks have as many parameters, most nearly, as own bottom blocks have below ``split``.

    Args:
        blocks: The chain.
        split: Of the separate bottom.
        norm: Whether each task has its own BatchNorm in the shared blocks too; they count.

    Raises:
        ValueError: If there is no such block.
    """
    count = split_at(blocks, split)
    aim = own_parameters(blocks, count, "bottom", norm)
    return min(
        range(len(blocks) + 1),
        key=lambda n: (abs(own_parameters(blocks, n, "top", norm) - aim), len(blocks) - n),
    )


def own_parameters(blocks: Blocks, split: int, own: Side, norm: Norm = "shared") -> int:
    """Parameters that each task has for itself, without its head."""
    total = 0
    for number, block in enumerate(blocks.values()):
        mine = (number < split) == (own == "bottom")
        for module in block.modules():
            if mine or (norm == "separate" and isinstance(module, _BatchNorm)):
                total += sum(p.numel() for p in module.parameters(recurse=False))
    return total
