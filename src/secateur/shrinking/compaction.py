"""What compaction removed, and how to bring a freshly built network to the same shape."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd  # pyright: ignore[reportPrivateUsage]

from secateur.shrinking.copying import bake
from secateur.shrinking.cutting import add_bias, cut, replace, tell_groups, tell_norm
from secateur.shrinking.names import named
from secateur.shrinking.record import check_record

_ATTRIBUTE = "_secateur_compaction"
_REASONS = 20  # said in words


@dataclass
class Compaction:
    """The record of a smaller network.

    Args:
        kept: Parameter or buffer -> axis -> the original indices that are left along it.
        constants: Path of a module that gave a constant -> settings of the :class:`Constant` in its place; empty
            settings stand for ``nn.Identity``.
        biases: Paths of modules that were given a bias.
        pinned: Why channels could not be removed -> how many.
        constant: What keeps channels that give nothing but a constant -> how many; they are among those that are left.
        channels: Channels before and after.
        unseen: Paths of modules that training alone runs, cut to fit what they are given.
        groups: Path of a normalisation without weights, or of a convolution that lost channels of every group, to its groups and
            (output) channels.
        dead: Outputs that do not depend on the input.
        baked: Paths of modules whose own parametrization, such as a weight norm, was taken off.
    """

    kept: dict[str, dict[int, list[int]]] = field(default_factory=dict[str, dict[int, list[int]]])
    constants: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    biases: list[str] = field(default_factory=list[str])
    pinned: dict[str, int] = field(default_factory=dict[str, int])
    constant: dict[str, int] = field(default_factory=dict[str, int])
    channels: tuple[int, int] = (0, 0)
    baked: list[str] = field(default_factory=list[str])
    dead: list[str] = field(default_factory=list[str])
    unseen: list[str] = field(default_factory=list[str])
    groups: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for a file."""
        kept = {name: {str(axis): ids for axis, ids in axes.items()} for name, axes in self.kept.items()}
        own = {"constants": self.constants, "biases": self.biases, "pinned": self.pinned, "baked": self.baked}
        own |= {
            "constant": self.constant,
            "dead": self.dead,
            "unseen": self.unseen,
            "groups": {path: list(sizes) for path, sizes in self.groups.items()},
        }
        return {"kept": kept, "channels": list(self.channels), **own}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Compaction:
        """The record that :meth:`to_dict` wrote.

        Raises:
            ValueError: If it is none.
        """
        try:
            kept = {n: {int(a): list(ids) for a, ids in axes.items()} for n, axes in found["kept"].items()}
            constants, biases = dict(found["constants"]), list(found["biases"])
            before, after = found["channels"]
            groups = {path: (int(of), int(size)) for path, (of, size) in found.get("groups", {}).items()}
            made = cls(
                kept, constants, biases, dict(found["pinned"]), channels=(before, after), groups=groups
            )
            made.constant = dict(found.get("constant", {}))
            made.baked, made.dead, made.unseen = (list(found.get(n, [])) for n in ("baked", "dead", "unseen"))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"its record of what was removed cannot be read ({error!r})") from error
        check_record(made.kept, made.constants, made.biases)
        return made

    def same_cut(self, other: Compaction) -> bool:
        """Whether the same was removed, whatever was said about it."""
        mine, theirs = (self.kept, self.constants), (other.kept, other.constants)
        return mine == theirs and set(self.biases) == set(other.biases)

    def text(self) -> str:
        """In words: what went, and what was pinned and why."""
        before, after = self.channels
        lines = [f"{before - after} of {before + sum(self.pinned.values())} channels removed."]
        if before == after and not self.constants and not self.constant:
            lines.append(
                "There was nothing to take out: every channel that may go is in use. Train with a method that removes whole channels "
                "(less_is_more, GroupLasso), or prune to a budget (`secateur prune`); single zeros are what `secateur export` stores as such."
            )
        if self.dead:
            lines.append(f"No element of these outputs depends on the input: {_listed(self.dead)}.")
        if self.constants:
            lines.append(f"Replaced, because they gave constants: {_listed(self.constants)}.")
        if self.unseen:
            lines.append(
                f"Layers that training alone runs, cut to fit what they are given: {_listed(self.unseen)}."
            )
        reasons = [(f"{n or 'Some'} channels stay: {reason}.", n) for reason, n in self.pinned.items()]
        reasons += [
            (f"{n} channels stay though they give a constant: {place} needs it.", n)
            for place, n in self.constant.items()
        ]
        reasons.sort(key=lambda item: -item[1])
        lines += [line for line, _ in reasons[:_REASONS]]
        if len(reasons) > _REASONS:
            lines.append(f"{len(reasons) - _REASONS} more reasons, of fewer channels, are in the record.")
        return "\n".join(lines)


def _listed(names: Collection[str], most: int = 6) -> str:
    """Names for a line that can be read; all of them are in the record."""
    first = ", ".join(sorted(names)[:most])
    return first if len(names) <= most else f"{first} and {len(names) - most} more"


class Constant(nn.Module):
    """Stands for a layer whose output does not depend on its input.

    Args:
        channels: Length of the constant.
        kernel: ``(size, stride, padding, dilation)`` for each spatial axis; empty for a linear layer.
    """

    def __init__(self, channels: int, kernel: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(channels))
        self.kernel = [tuple(axis) for axis in kernel]

    def forward(self, x: Tensor) -> Tensor:
        """(N, anything, ...) -> (N, channels, ...), as large as the layer's output was."""
        if not self.kernel:
            return self.value.to(x.dtype).expand(*x.shape[:-1], -1).contiguous()
        space = [
            (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
            for size, (kernel, stride, padding, dilation) in zip(x.shape[2:], self.kernel, strict=True)
        ]
        value = self.value.to(x.dtype).view(1, -1, *[1] * len(space))
        return value.expand(x.shape[0], -1, *space).contiguous()  # the next layer may work in place


def compaction(model: nn.Module) -> Compaction | None:
    """The record of what was removed from ``model``; None if nothing ever was."""
    return model.__dict__.get(_ATTRIBUTE)


def record(model: nn.Module, made: Compaction) -> None:
    """Keeps the record with the model, composed with that of earlier rounds."""
    old = compaction(model)
    if old is not None:
        for name, axes in old.kept.items():
            for axis, indices in axes.items():
                mine = made.kept.setdefault(name, {})
                mine[axis] = [indices[i] for i in mine[axis]] if axis in mine else indices
        made.constants = {**old.constants, **made.constants}
        made.biases = sorted({*old.biases, *made.biases})
        made.groups = {**old.groups, **made.groups}
        for path in made.groups:  # whole groups may have gone since
            if isinstance(module := dict(model.named_modules()).get(path), _ConvNd):
                made.groups[path] = module.groups, module.out_channels
        made.baked = sorted({*old.baked, *made.baked})
        made.channels = (old.channels[0], made.channels[1])
    model.__dict__[_ATTRIBUTE] = made


def rebuild(model: nn.Module, made: Compaction) -> nn.Module:
    """Brings a freshly built network of the user's class to the shape of the record, in place; values are not set.

    Raises:
        ValueError: If the network has not the layers that the record names.
    """
    if made.baked:
        bake(model)
    state = named(model)
    modules = dict(model.named_modules(remove_duplicate=False))
    if absent := [path for path in [*made.constants, *made.biases] if path not in modules]:
        raise ValueError(
            f"The file is of a network with a layer {absent[0]!r}, which this one has not; build the same class."
        )
    for path, settings in made.constants.items():
        replace(model, path, Constant(**settings) if settings else nn.Identity())
    for path in made.biases:
        if not isinstance(getattr(modules[path], "weight", None), Tensor):
            raise ValueError(f"The file is of a network whose {path!r} has a weight; build that class.")
        add_bias(modules[path])
    for path, (groups, size) in made.groups.items():
        tell_norm(modules.get(path), groups, size)
    present = named(model)
    for name, axes in made.kept.items():
        if name not in present:
            if name in state:
                continue  # it went with a layer that was replaced
            raise ValueError(
                f"The file is of a network with a parameter {name!r}, which this one has not; build the same class."
            )
        for axis, indices in axes.items():
            if indices and (present[name].dim() <= axis or indices[-1] >= present[name].shape[axis]):
                raise ValueError(
                    f"The file is of a network whose {name!r} has more than {tuple(present[name].shape)} elements; "
                    "build the model with the settings it was trained with."
                )
    cut(
        model,
        {n: {a: torch.tensor(i) for a, i in axes.items()} for n, axes in made.kept.items() if n in present},
    )
    for path, (groups, _) in made.groups.items():
        if isinstance(module := modules.get(path), _ConvNd):
            tell_groups(module, groups)
    model.__dict__[_ATTRIBUTE] = made
    return model
