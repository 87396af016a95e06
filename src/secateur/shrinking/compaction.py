"""What compaction removed, and how to bring a freshly built network to the same shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd  # pyright: ignore[reportPrivateUsage]

from secateur.shrinking.channels.rules import OUTPUT
from secateur.shrinking.constant import Constant, replace
from secateur.shrinking.copying import bake
from secateur.shrinking.cutting import add_bias, cut, tell_groups, tell_norm
from secateur.shrinking.heads import heads_recorded, tell_heads
from secateur.shrinking.names import counted, listed, named
from secateur.shrinking.record import check_record, check_sizes

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
        unread: Path of such a module -> how many channels are gone that it reads by weights that are not zero.
        normed: Path of a normalisation with running statistics -> how many channels are gone of which it makes another constant in training.
        unreached: Paths of modules with weights that no trace reaches, left as they were.
        groups: Path of a normalisation without weights, or of a convolution that lost channels of every group, to its groups and
            (output) channels.
        dead: Outputs that do not depend on the input.
        baked: Paths of modules whose own parametrization, such as a weight norm, was taken off.
        shapes: Parameter or buffer of ``kept`` -> its shape before anything was removed.
        told: Path of a module -> those of its whole numbers, such as groups or heads, that are others since, as they are now.
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
    unread: dict[str, int] = field(default_factory=dict[str, int])
    groups: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    normed: dict[str, int] = field(default_factory=dict[str, int])
    unreached: list[str] = field(default_factory=list[str])
    shapes: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    told: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for a file."""
        kept = {name: {str(axis): ids for axis, ids in axes.items()} for name, axes in self.kept.items()}
        own = {"constants": self.constants, "biases": self.biases, "pinned": self.pinned, "baked": self.baked}
        own |= {
            "constant": self.constant,
            "dead": self.dead,
            "unseen": self.unseen,
            "unread": self.unread,
            "normed": self.normed,
            "groups": {path: list(sizes) for path, sizes in self.groups.items()},
            "unreached": self.unreached,
            "shapes": self.shapes,
            "told": self.told,
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
            made.unread, made.unreached = dict(found.get("unread", {})), list(found.get("unreached", []))
            made.normed = dict(found.get("normed", {}))
            made.shapes = {name: list(shape) for name, shape in found.get("shapes", {}).items()}
            made.told = {path: dict(numbers) for path, numbers in found.get("told", {}).items()}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"its record of what was removed cannot be read ({error!r})") from error
        check_record(made.kept, made.constants, made.biases)
        check_sizes(made.shapes, made.told)
        return made

    def same_cut(self, other: Compaction) -> bool:
        """Whether the same was removed, whatever was said about it."""
        mine, theirs = ((o.kept, o.constants, o.groups, o.shapes, o.told) for o in (self, other))
        return mine == theirs and set(self.biases) == set(other.biases)

    def text(self) -> str:
        """In words: what went, and what was pinned and why."""
        before, after = self.channels
        lines = [f"{before - after} of {before + sum(self.pinned.values())} channels removed."]
        if before == after and not self.constants and not self.constant and self.pinned.keys() - {OUTPUT}:
            lines.append("Nothing was taken out; what keeps channels, in use or not, is said below.")
        elif before == after and not self.constants and not self.constant:
            lines.append(
                "There was nothing to take out: every channel that may go is in use. Train with a method that removes whole channels "
                "(less_is_more, GroupLasso), or prune to a budget (`secateur prune`); single zeros are what `secateur export` stores as such."
            )
        if self.dead:
            lines.append(f"No element of these outputs depends on the input: {listed(self.dead)}.")
        if self.constants:
            lines.append(f"Replaced, because they gave constants: {listed(self.constants)}.")
        if self.unseen:
            lines.append(
                f"Layers that training alone runs, cut to fit what they are given: {listed(self.unseen)}."
            )
        if self.unread:
            lines.append(f"In training they read channels that are gone: {counted(self.unread)}.")
        if self.normed:
            lines.append(
                "In training these normalise by the batch, and what they make of a constant that was folded on is another there, until "
                f"the smaller network has trained a while: {counted(self.normed)}."
            )
        if self.unreached:
            lines.append(f"Not reached with this example, left as they are: {listed(self.unreached)}.")
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
        made.shapes |= old.shapes
        for path, numbers in old.told.items():
            made.told[path] = numbers | made.told.get(path, {})
        made.told = {path: numbers for path, numbers in made.told.items() if path not in made.constants}
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
        shape = tuple(present[name].shape)
        if (before := tuple(made.shapes.get(name, shape))) != shape:
            raise ValueError(
                f"The file is cut from a network whose {name!r} is {before}, and this one's is {shape}; "
                "build the model with the settings it was trained with."
            )
        for axis, indices in axes.items():
            if indices and (present[name].dim() <= axis or indices[-1] >= present[name].shape[axis]):
                raise ValueError(
                    f"The file is of a network whose {name!r} has more than {tuple(present[name].shape)} elements; "
                    "build the model with the settings it was trained with."
                )
    heads = heads_recorded(model, made.kept, made.told)
    cut(
        model,
        {n: {a: torch.tensor(i) for a, i in axes.items()} for n, axes in made.kept.items() if n in present},
    )
    tell_heads(model, heads)
    for path, (groups, _) in made.groups.items():
        if isinstance(module := modules.get(path), _ConvNd):
            tell_groups(module, groups)
    for path, numbers in made.told.items():
        for name, number in numbers.items():
            if (own := vars(modules[path]).get(name) if path in modules else None) != number:
                raise ValueError(
                    f"The file is of a network whose {path!r} has {name} {number} once it is cut, and this one's has {own}; "
                    "build the model with the settings it was trained with."
                )
    model.__dict__[_ATTRIBUTE] = made
    return model
