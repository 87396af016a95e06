"""Scores that are the same: what they leave to the place of a weight in its tensor is said, with layers and tasks."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

_REMEDY = (
    "Weights that are zero at first (a head or a residual branch initialised with zeros), that no gradient reaches yet, or whose "
    "task has no label in the batches scored, score nothing: initialise them otherwise, score later (at=0.1), or on more batches."
)
Owners = Mapping[str, Collection[str]]


@torch.no_grad()
def check_ties(asker: str, found: Mapping[str, Tensor], masks: Mapping[str, Tensor], owners: Owners) -> None:
    """Looks for choices among equal scores, which go to the earlier index and so mean nothing.

    Args:
        asker: Of the method, for what is said.
        found: Weight name to the scores that were chosen by.
        masks: What was chosen.
        owners: Weight name to the tasks that reach it.

    Raises:
        ValueError: If half of what stays or more was chosen by its place alone. Where it is less, but whole layers, or more than
            a tenth of what stays, it is a UserWarning.
    """
    lost = [scores[~masks[name]] for name, scores in found.items()]
    # Layers are compared with each other, and within a layer where each has a density of its own.
    edge = max((float(part.max()) for part in lost if part.numel()), default=-torch.inf)
    tied, by_place, kept = list[str](), dict[str, int](), 0
    for (name, scores), gone in zip(found.items(), lost, strict=True):
        stays = scores[masks[name]]
        same = scores.numel() > 1 and float(scores.max()) == float(scores.min())
        if same and gone.numel() and owners.get(name):  # what serves no task goes for a reason
            tied.append(name)
        chosen = stays == edge
        if gone.numel():
            chosen |= stays == gone.max()
        by_place[name], kept = int(chosen.sum()), kept + stays.numel()
    count = sum(by_place.values())
    if 2 * count >= kept > 0 and count > len(found):
        worst = [name for name in sorted(by_place, key=lambda name: -by_place[name]) if by_place[name]]
        raise ValueError(
            f"{asker}: {count} of the {kept} weights that are to stay would be chosen by their place alone, since their scores "
            f"are those of others that go, most of them in {_listed(worst, owners)}. {_REMEDY}"
        )
    if tied:
        text = f"all weights of {_listed(tied, owners)} score the same, so what stays of them is chosen by its place alone"
    elif 10 * count > kept and count > len(found):
        text = f"{count} of the {kept} weights that stay score the same as others that go, so they are chosen by their place alone"
    else:
        return
    warnings.warn(f"{asker}: {text}. {_REMEDY}", stacklevel=3)


def check_worth(asker: str, scores: Mapping[str, Mapping[str, Tensor]], remedy: str = _REMEDY) -> None:
    """Raises ValueError naming the tasks whose own ranking has no score above zero, and their layers.

    Args:
        asker: Of the method, for what is said.
        scores: Task to the scores of the weights that it owns.
        remedy: What to do, where that is another thing than for a network that is about to be trained.
    """
    dead = [t for t, own in scores.items() if own and not any(bool((s > 0).any()) for s in own.values())]
    if dead:
        layers = _listed(list(scores[dead[0]]), dict.fromkeys(scores[dead[0]], dead))
        raise ValueError(
            f"{asker}: no weight is worth anything to task {', '.join(map(repr, dead))}: all scores are zero, in {layers}, and the "
            f"order of its weights would be that of their places. {remedy}"
        )


def check_moving(asker: str, weights: Mapping[str, nn.Parameter], owners: Owners) -> None:
    """Warns of layers that are zero, for methods that pass no gradient on to a weight that is zero: they stay so for ever."""
    still = [name for name, p in weights.items() if not p.any()]
    if still:
        warnings.warn(
            f"{asker}: all weights of {_listed(still, owners)} are zero, and the published gradient moves no weight that is zero: they "
            "stay so. Initialise them otherwise, or choose SoftThreshold, whose gradient is straight-through.",
            stacklevel=3,
        )


def _listed(names: list[str], owners: Owners) -> str:
    """Up to four names with their tasks, and how many more."""
    said = [f"{name} ({', '.join(sorted(owners.get(name, ()))) or 'no task'})" for name in names[:4]]
    return ", ".join(said) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
