"""Labels to groups of weights, and how small a network may get with one group or another."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set

import torch
from torch import Tensor

from secateur.pruning import Groups
from secateur.shrinking.channels import Channels, in_groups, layers


def partition(
    channels: Channels,
    still: Mapping[str, Set[str]],
    staying: Mapping[tuple[str, int], Tensor],
    thinned: Collection[str],
) -> Groups:
    """The groups of these labels, without those that were seen to stay and those of weights that are ``still``, by the reason.

    Args:
        channels: The labels.
        still: Why weights stay as they are -> which.
        staying: Weight and axis -> which of its indices were seen to stay.
        thinned: As :func:`find_channels` was given it.
    """
    stay = torch.zeros(channels.count + 1, dtype=torch.bool)  # the last place is for labels of -1
    for key, places in staying.items():
        stay[channels.axes[key][places]] = True
    pins = {reason: count for reason, count in channels.pins.items() if count}
    if read := int(stay[:-1].sum()):
        pins["something else than weights reads them"] = read
    for reason, names in still.items():
        before = int(stay[:-1].sum())
        for (name, _), labels in channels.axes.items():
            if name in names:
                stay[labels] = True
        if more := int(stay[:-1].sum()) - before:
            pins[reason] = more
    axis: dict[str, int] = {}
    index: dict[str, Tensor] = {}
    rows: dict[str, Tensor] = {}
    outputs: dict[str, int] = {}
    for _, layer in layers(channels.nodes):
        name = layer.weight.target
        if name in axis or any(name in names for names in still.values()):
            continue
        whole = layer.groups > 1 and name not in thinned
        axis[name] = 0 if whole else layer.input_axis
        index[name] = _of(channels, name, axis[name], layer.weight.shape)
        if not whole:
            rows[name] = _of(channels, name, layer.output_axis, layer.weight.shape)
            if layer.output_axis:
                outputs[name] = layer.output_axis
    used = torch.unique(torch.cat([torch.tensor([-1]), *index.values()]))
    used = used[(used >= 0) & ~stay[used]]
    number = torch.full((channels.count + 1,), -1)
    number[used] = torch.arange(used.numel())
    index, rows = ({name: number[ids] for name, ids in part.items()} for part in (index, rows))
    return Groups(used.numel(), axis, index, rows, outputs, pins)


def fewest(groups: Groups, alive: Tensor, worth: Tensor) -> Tensor:
    """Groups of which each weight keeps an input and a row, and few weights in all, (count,) bool.

    Those that serve most layers for the channels that they take come first, as where several are normalised as one block
    (greedy weighted set cover; Chvatal 1979), of equal ones those of most worth.

    Args:
        groups: The partition.
        alive: (count,) bool, what is left before.
        worth: (count,).
    """
    lists = [
        ids[alive[ids]] for ids in (*groups.index.values(), *groups.rows.values()) if bool((ids >= 0).all())
    ]
    kept = torch.zeros_like(alive)
    if not lists:
        return kept
    places = torch.bincount(torch.cat(lists), minlength=groups.count).clamp(min=1)
    each = [ids.unique() for ids in lists]
    group, layer = torch.cat(each), torch.repeat_interleave(torch.tensor([len(ids) for ids in each]))
    while len(group):
        rate = torch.bincount(group, minlength=groups.count) / places
        best = torch.nonzero(rate == rate.max()).flatten()
        one = best[worth[best].argmax()]
        kept[one] = True
        left = ~torch.isin(layer, layer[group == one])
        group, layer = group[left], layer[left]
    return kept


def least(groups: Groups, sizes: Mapping[str, int]) -> float:
    """How many weights are left of the fewest groups; ``sizes`` says how many each weight has."""
    if not groups.axis:
        return 0.0
    everything = torch.ones(groups.count, dtype=torch.bool)
    kept = groups.kept_fraction(fewest(groups, everything, everything.double()))
    return sum(sizes[name] * part for name, part in kept.items())


def thinnings(channels: Channels) -> list[frozenset[str]]:
    """Which convolutions in groups may lose the same channels of every group, as sets to choose from.

    Those that get smaller so, by themselves, and in no coarser steps; and those whose groups go together, as where each is all of
    one convolution.

    Args:
        channels: The labels where whole groups go.
    """
    wide: set[str] = set()
    tied: set[str] = set()
    for name, (groups, inputs, outputs, places) in in_groups(channels.nodes).items():
        ins, outs = inputs // groups, outputs // groups
        labels = channels.axes.get((name, 0), torch.tensor([-1]))
        if groups <= ins + outs and groups * (2 + places) < ins + outs + ins * outs * places:
            wide.add(name)
        elif labels[labels >= 0].unique().numel() < groups:
            tied.add(name)
    return [kind for kind in dict.fromkeys([frozenset(wide), frozenset(wide | tied)]) if kind]


def _of(channels: Channels, name: str, axis: int, shape: tuple[int, ...]) -> Tensor:
    return channels.axes.get((name, axis), torch.full((shape[axis],), -1))
