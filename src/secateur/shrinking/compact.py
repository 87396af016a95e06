"""Channels really removed: a smaller network with the same outputs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

from torch import nn
from torch.optim import Optimizer

from secateur.problem import (
    Call,
    Input,
    called,
    check_count,
    check_factor,
    check_takes,
    uncalled,
)
from secateur.pruning import check_done
from secateur.shrinking.channels import Training, trace, training_nodes
from secateur.shrinking.compaction import record
from secateur.shrinking.copying import copied, narrowed, plain
from secateur.shrinking.exact import exact
from secateur.shrinking.in_training import Otherwise
from secateur.shrinking.names import check_values, counted, listed, named
from secateur.shrinking.normed import normed
from secateur.shrinking.optimizers import check_own, exchange
from secateur.shrinking.reached import check_fits, check_reached, say_unreached
from secateur.shrinking.verify import Reference


def compact(
    model: nn.Module,
    example: Input,
    *,
    round_to: int = 1,
    optimizer: Optimizer | None = None,
    tolerance: float = 1e-5,
    call: Call | None = None,
) -> nn.Module:
    """A smaller copy of ``model`` that computes the same: every channel that no output depends on is removed.

    A channel goes when all that reads it has zero weights, or when it is constant; constants are folded into biases,
    BatchNorm, or, where padding makes the border differ, into one channel. Layers that give nothing but constants,
    such as those of a dead residual branch, are replaced. Inputs and outputs of the network stay as they are, and so
    does every channel that an unknown operation or the user's own code needs; :func:`secateur.compaction` says what. That it
    computes the same is looked at on ``example``, on another input, and at another size where the network takes one.

    Args:
        model: A plain module (``fit`` has returned).
        example: What it takes, with a batch dimension.
        round_to: Channels left along an axis are filled up to a multiple of this with the strongest that could go.
        optimizer: Its parameters and their state are exchanged for those of the copy, so that training goes on.
        tolerance: Largest difference of an output, computed in float64, relative to its largest value.
        call: How the model is called where ``model(example)`` does not do, as in a :class:`secateur.Problem`.

    Raises:
        ValueError: If the model cannot be traced, an input of a task is missing (layers that nothing reaches take what went), or the copy
            does not compute the same; the message names the layer. If ``round_to`` or ``tolerance`` is out of range, or the optimizer steps nothing of the model.

    Warns:
        UserWarning: If an output depends on no input, or the code goes another way at another size, where the copy is not exact; if in
            training mode it fails or computes something else, or what training alone runs cannot be followed.
    """
    check_count("compact: round_to", round_to)
    check_factor("compact: tolerance", tolerance)
    if optimizer is not None:
        check_own(optimizer, model)
    check_values("compact", model)
    check_done(model, "compact")
    whole, baked = plain(model)
    whole = called(whole, call)
    check_takes("compact", copied(whole), example)
    nodes = trace(whole, example)
    training = training_nodes(whole, example, nodes)
    unreached = check_reached("compact", whole, example, training.unreached)
    reference = Reference(whole, example, tolerance)
    dtypes = {n: t.dtype for n, t in named(whole).items() if t.is_floating_point()}
    pinned: dict[str, str] = {}
    for folds in (True, False):
        tried = exact(whole, [nodes, training.nodes], reference, round_to, pinned, folds=folds)
        small, made = tried.small, tried.made
        made.dead = _named_dead(tried.dead, reference)
        narrowed(small, dtypes)
        reason = reference.difference(small, rounded=True)
        if reason is None:
            misfits = check_fits("compact", whole, unreached, tried.channels, tried.keep)
            say_unreached(unreached, misfits)
            _say_training(training, tried.otherwise, made.unread)
            small = uncalled(small)
            cut = {name.rpartition(".")[0] for name in made.kept}
            made.baked, made.unseen = baked, [path for path in training.own if path in cut]
            made.normed = normed(whole, tried.channels, tried.keep)
            made.unreached = sorted({name.rpartition(".")[0] or name for name in training.unreached})
            record(small, made)
            if optimizer is not None:
                exchange(optimizer, model, small, made)
            return small
    raise ValueError(
        f"compact: in its own types the smaller network does not compute the same ({reason}); raise tolerance, which is "
        f"{tolerance:g}, or compact the network in float32."
    )


def _named_dead(dead: list[int], reference: Reference) -> list[str]:
    """Says which outputs are the same whatever goes in."""
    names = list(reference.expected[0])
    found = [names[i] for i in dead if i < len(names)]
    if found:
        warnings.warn(
            f"compact: of the network's outputs {', '.join(found)} no element depends on the input: all channels on the way "
            "are dead. Prune less (a higher density), or check the training.",
            UserWarning,
            stacklevel=3,
        )
    return found


def _say_training(training: Training, otherwise: Otherwise | None, unread: Mapping[str, int]) -> None:
    """Warns where the smaller network may not train, or cannot, or not as the whole one does."""
    if otherwise is not None and otherwise.fails:
        text = (
            f"in training mode the smaller network fails, and the whole one does not ({otherwise.reason}); train before, or let what "
            "training alone runs take its sizes from what it is given."
        )
    elif otherwise is not None:
        text = (
            f"in training mode the smaller network computes something else than the whole one ({otherwise.reason}), as what training "
            "alone runs reads channels that are gone; train before, or let the forward pass read them in eval mode too."
        )
    elif unread:
        text = (
            f"in training mode the smaller network gives something else than the whole one: channels are gone that layers which training "
            f"alone runs read ({counted(unread)}); train before, or let the forward pass run these in eval mode too, "
            "so that the channels stay."
        )
    elif training.failure and training.unreached:
        text = (
            f"what training alone runs cannot be followed ({training.failure}), so {listed(training.unreached)} stay as they are, "
            "and may not fit what they are given there; train before, or let the forward pass run them in eval mode too."
        )
    elif training.failure:
        text = (
            f"what training alone runs cannot be followed ({training.failure}), so whether the smaller network does "
            "the same in training mode is not known for certain; train before, or compare there what both give."
        )
    else:
        return
    warnings.warn(f"compact: {text}", UserWarning, stacklevel=3)
