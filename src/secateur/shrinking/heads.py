"""How many heads of attention are left, for the modules that say how many they have."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise, product

import torch
from torch import Tensor, nn

from secateur.shrinking.channels import Channels
from secateur.shrinking.names import first_names

_COUNTS, _SIZES = (
    ("num_attention_heads", "num_heads", "n_heads"),
    ("attention_head_size", "head_dim"),
)
_ALL = "all_head_size"
Heads = dict[str, dict[str, int]]  # path of a module to its numbers that are others then, as they are then


def heads_left(
    model: nn.Module,
    channels: Channels,
    keep: Tensor,
    untold: Collection[str] = (),
    *,
    together: bool = False,
) -> Heads:
    """What modules around projections into heads must say; names as transformers has them.

    Heads are told by the trace: something lays the channels of the projection out in so many, of that size, and each lives and
    dies as a whole. Hidden units, or channels of a residual stream, of which there may be as many, are none. Where several
    attentions of one module are left with different numbers, it goes on saying what it did, and its code says what it needs.

    Args:
        model: Before it is cut.
        channels: Its labels.
        keep: Which of them are left, (labels,).
        untold: Paths of modules that go on saying what they did.
        together: Whether attentions of one module must lose their heads together; else it is enough that they lose as many.
    """
    names = first_names(model)
    found: defaultdict[tuple[str, str], set[tuple[int, frozenset[int]]]] = defaultdict(set)
    for path, child, (count, heads, width) in _projections(model):
        labels = channels.axes.get((names.get(f"{child}.weight", ""), 0))
        if labels is None or path in untold or not _laid_out(labels, heads, width, channels):
            continue
        left = int(((labels < 0) | keep[labels.clamp(min=0)]).sum())
        which = frozenset(labels.tolist() if together else [])
        found[path, count].add((left // width, which))
        if getattr(model.get_submodule(path), _ALL, None) == labels.numel():
            found[path, _ALL].add((left, which))
    made = Heads()
    for (path, name), numbers in found.items():
        [(number, _), *others] = numbers
        if number and not others and number != getattr(model.get_submodule(path), name):
            made.setdefault(path, {})[name] = number
    return made


def heads_recorded(
    model: nn.Module, kept: Mapping[str, Mapping[int, Sequence[int]]], told: Mapping[str, Mapping[str, int]]
) -> Heads:
    """The same for a freshly built network, of a record.

    Args:
        model: Before it is cut.
        kept: As of a :class:`Compaction`.
        told: As of a :class:`Compaction`; empty in files of before it was kept.
    """
    names, made = first_names(model), Heads()
    for path, child, (count, heads, width) in _projections(model):
        left = len(kept.get(names.get(f"{child}.weight", ""), {}).get(0, ()))
        if (
            left in (0, heads * width)
            or left % width
            or (told and told.get(path, {}).get(count) != left // width)
        ):
            continue
        first = made.setdefault(path, {}).setdefault(count, left // width)
        if first == left // width and getattr(model.get_submodule(path), _ALL, None) == heads * width:
            made[path][_ALL] = left
    return made


def tell_heads(model: nn.Module, heads: Heads) -> None:
    """Sets them."""
    for path, numbers in heads.items():
        for name, number in numbers.items():
            setattr(model.get_submodule(path), name, number)


def _projections(model: nn.Module) -> Iterator[tuple[str, str, tuple[str, int, int]]]:
    """Path of a module that says of heads how many it has and how large they are, that of a layer in it with as many outputs, and what it says."""
    for path, owner in model.named_modules():
        for count, size in product(_COUNTS, _SIZES):
            heads, width = getattr(owner, count, None), getattr(owner, size, None)
            if not isinstance(heads, int) or not isinstance(width, int):
                continue
            for name, layer in owner.named_children():
                weight = getattr(layer, "weight", None)
                if isinstance(weight, Tensor) and weight.dim() and weight.shape[0] == heads * width:
                    yield path, f"{path}.{name}".lstrip("."), (count, heads, width)


def _laid_out(labels: Tensor, heads: int, width: int, channels: Channels) -> bool:
    """Whether the trace has a tensor of heads by places in them, or the other way round, of these labels, and heads go whole."""
    for sizes, places in (((heads, width), 1), ((width, heads), 0)):
        laid = labels.view(sizes)
        if not bool((laid == laid.narrow(places, 0, 1)).all()):
            continue
        for node in channels.nodes:
            for own in channels.labels.get(node.name, []):
                axes = [a for a, pair in enumerate(pairwise(own.shape)) if pair == sizes]
                if any(torch.equal(_plane(own, axis), laid) for axis in axes):
                    return True
    return False


def _plane(labels: Tensor, axis: int) -> Tensor:
    """Those along ``axis`` and the next, at the first place of all others."""
    moved = labels.movedim((axis, axis + 1), (-2, -1))
    return moved[(0,) * (labels.dim() - 2)]
