"""Groups of weights that live and die together, and how networks are parted into them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd  # pyright: ignore[reportPrivateUsage]

from secateur.problem import Problem, RemediedError, prunable


@dataclass(frozen=True)
class Groups:
    """Which weights live and die together: a partition of some weights along one axis each.

    Args:
        count: Number of groups, 0 to count - 1.
        axis: Parameter name to the axis whose indices are grouped (1: input channels of a convolution or linear layer).
        index: Parameter name to the group of each index of that axis, (size of that axis,) int64; -1 belongs to none
            and is never penalised.
        rows: Parameter name to the group whose death removes that output channel too, (size of its axis,) int64, -1 for
            none. A weight may be left out.
        outputs: Parameter name to the axis of ``rows``, where that is not 0: of transposed convolutions it is 1.
        pins: Why channels belong to no group, to how many; for messages.

    Raises:
        ValueError: If the three disagree about the weights, or name a group that does not exist.
    """

    count: int
    axis: dict[str, int]
    index: dict[str, Tensor]
    rows: dict[str, Tensor]
    outputs: dict[str, int] = field(default_factory=dict[str, int])
    pins: dict[str, int] = field(default_factory=dict[str, int])

    def __post_init__(self) -> None:
        if list(self.axis) != list(self.index) or not self.rows.keys() <= self.axis.keys():
            raise ValueError(
                f"Groups: axis names {sorted(self.axis)}, index {sorted(self.index)}, rows {sorted(self.rows)}; "
                "axis and index must name the same weights in the same order, rows some of them."
            )
        for name, ids in [*self.index.items(), *self.rows.items()]:
            if ids.numel() and not ids.is_meta and (int(ids.min()) < -1 or int(ids.max()) >= self.count):
                raise ValueError(
                    f"Groups: {name!r} has groups {int(ids.min())} to {int(ids.max())}; they must lie in [-1, {self.count - 1}]."
                )

    def to(self, device: torch.device) -> Groups:
        """The same groups with their tensors on ``device``."""
        index = {name: ids.to(device) for name, ids in self.index.items()}
        return replace(self, index=index, rows={name: ids.to(device) for name, ids in self.rows.items()})

    def along(self, name: str, value: Tensor) -> Tensor:
        """Sums of ``value``, of the shape of weight ``name``, over all axes but the grouped one; (size of that axis,)."""
        if self.axis[name] == 0:
            return value.flatten(1).sum(1)
        if self.axis[name] == 1:  # whole rows first: several times as fast as one sum over three axes
            return value.sum(0).flatten(1).sum(1) if value.dim() > 2 else value.sum(0)
        return value.movedim(self.axis[name], 0).flatten(1).sum(1)

    def gather(self, parts: Iterable[Tensor]) -> Tensor:
        """Adds up sums per index, of :meth:`along` in the order of ``axis``, to sums per group, (count,)."""
        flat = torch.cat(list(parts))
        return flat.new_zeros(self.count + 1).index_add_(0, self._flat, flat)[:-1]

    def spread(self, values: Tensor, rest: float, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A value per group, (count,), as tensors that broadcast over each weight; ``rest`` where there is no group."""
        flat = torch.cat([values, values.new_full((1,), rest)])[self._flat]
        parts = flat.split([ids.numel() for ids in self.index.values()])
        shapes = [[-1 if d == a else 1 for d in range(weights[n].dim())] for n, a in self.axis.items()]
        return {n: part.view(shape) for n, part, shape in zip(self.axis, parts, shapes, strict=True)}

    def norms(self, weights: Mapping[str, Tensor]) -> Tensor:
        """Euclidean norm of each group, (count,), in at least single precision."""
        return self.gather(
            self.along(name, weights[name].to(wide(weights[name])).square()) for name in self.axis
        ).sqrt()

    def sizes(self, weights: Mapping[str, Tensor]) -> Tensor:
        """n_g, the number of weights in each group, (count,)."""
        return self.gather(
            torch.full_like(ids, weights[name].numel() // ids.numel(), dtype=torch.float32)
            for name, ids in self.index.items()
        )

    def kept_fraction(self, alive: Tensor) -> dict[str, float]:
        """Fraction of each weight that is left when dead indices of its axis and dead rows are cut; reads the host once.

        Args:
            alive: (count,) bool.
        """
        held = torch.cat([alive, alive.new_ones(1)])  # index -1 is never cut
        kept: list[Tensor] = []
        for name, ids in self.index.items():
            columns = held[ids]
            if name not in self.rows:
                kept.append(columns.double().mean())
            elif self.axis[name] == self.outputs.get(name, 0):
                kept.append((columns & held[self.rows[name]]).double().mean())
            else:
                kept.append(columns.double().mean() * held[self.rows[name]].double().mean())
        return dict(zip(self.index, torch.stack(kept).tolist(), strict=True))

    def masks(self, alive: Tensor, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Bool masks of the shapes of ``weights``, False where a group that is not ``alive``, (count,), was."""
        held = torch.cat([alive, alive.new_ones(1)])
        found: dict[str, Tensor] = {}
        for name, mask in self.spread(alive, True, weights).items():
            if name in self.rows:
                shape = [-1 if d == self.outputs.get(name, 0) else 1 for d in range(mask.dim())]
                mask = mask & held[self.rows[name]].view(shape)
            found[name] = mask.expand_as(weights[name]).contiguous()
        return found

    def strongest(self, scores: Tensor) -> Tensor:
        """The groups that must live so that each weight keeps an input and a row: those of highest score; (count,) bool.

        A weight with an index of no group keeps that one anyway. Nothing is read back to the host.
        """
        pins = torch.zeros(self.count + 1, dtype=torch.bool, device=scores.device)
        held = torch.cat([scores, scores.new_full((1,), torch.inf)])
        for ids in [*self.index.values(), *self.rows.values()]:
            pins[ids[held[ids].argmax()]] = True  # -1, of infinite score, is the last place, cut off below
        return pins[:-1]

    @cached_property
    def _flat(self) -> Tensor:
        """The groups of all indices of all weights, one after another; count for none."""
        flat = torch.cat(list(self.index.values()))
        return torch.where(flat < 0, self.count, flat)


def input_groups(problem: Problem, names: Iterable[str] | None = None) -> Groups:
    """A group for each input channel of each shared convolution (Less is More 2023, Eq. 4).

    Args:
        problem: Gives the model and the owners of its weights.
        names: Weights of convolutions and linear layers to group; those of all convolutions that several tasks own if
            None. Where a convolution is split into groups, its input channels are not its axis 1, and it is left out.

    Raises:
        ValueError: If there is nothing to group, or a name is not such a weight.
    """
    weights = prunable(problem.model)
    layers = {name: problem.model.get_submodule(name.rpartition(".")[0]) for name in weights}
    whole = {n for n in weights if getattr(layers[n], "groups", 1) == 1}
    shared = shared_convolutions(problem) if names is None else list(names)
    unknown = sorted(n for n in shared if n not in whole or not isinstance(layers[n], (_ConvNd, nn.Linear)))
    if unknown:
        raise ValueError(
            f"names has {unknown}, which are not weights of ungrouped convolutions or linear layers; choose from {sorted(whole)}."
        )
    if not shared:
        wrong = "The model has no convolution that several tasks share; nothing can be pruned."
        own = "Name the weights of its backbone: groups=input_groups(problem, names)."
        raise RemediedError(wrong, own, "Take other groups (--method.groups coupled), or more tasks.")
    axis = {n: 0 if isinstance(layers[n], _ConvTransposeNd) else 1 for n in shared}
    index, count = dict[str, Tensor](), 0
    for name in shared:
        size = weights[name].shape[axis[name]]
        index[name] = torch.arange(count, count + size)
        count += size
    return Groups(count, axis, index, {})


def shared_convolutions(problem: Problem) -> list[str]:
    """Names of the weights of all convolutions, not split into groups, that several tasks own."""
    found = list[str]()
    for name in prunable(problem.model):
        layer = problem.model.get_submodule(name.rpartition(".")[0])
        if isinstance(layer, _ConvNd) and layer.groups == 1 and len(problem.owners[name]) > 1:
            found.append(name)
    return found


def all_weights(problem: Problem) -> Groups:
    """All prunable weights, for penalties on each by itself; they belong to one group, which as such means nothing.

    Raises:
        ValueError: If there is none.
    """
    weights = prunable(problem.model)
    if not weights:
        raise ValueError("The model has no weight that can be penalised; nothing can be pruned.")
    index = {name: torch.zeros(p.shape[0], dtype=torch.int64) for name, p in weights.items()}
    return Groups(1, dict.fromkeys(weights, 0), index, {})


def wide(value: Tensor) -> torch.dtype:
    """The precision that norms are computed in: single, or the value's own if that is higher."""
    return torch.promote_types(value.dtype, torch.float32)
