"""The smaller network that computes the same, found by cutting, running, and pinning what the user's code needs."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from torch import Tensor, nn

from secateur.shrinking.channels import (
    Channels,
    Needs,
    Node,
    constant_layers,
    constant_outputs,
    constant_values,
    find_channels,
    fixed_values,
    fold_constants,
    group_counts,
    needed,
    nothing_known,
    operations,
    put_constant,
    settings_of,
    staying,
    thinned,
    zeros_alone,
)
from secateur.shrinking.compaction import Compaction
from secateur.shrinking.copying import copied, narrowed, widened
from secateur.shrinking.cutting import cut
from secateur.shrinking.heads import Heads, heads_left, tell_heads
from secateur.shrinking.in_training import Cut, ForTraining, Otherwise
from secateur.shrinking.names import named
from secateur.shrinking.parting import Run, missed, needed_by, parting, removed_above, removes, watched
from secateur.shrinking.record import told
from secateur.shrinking.remaining import alive, complete, strengths
from secateur.shrinking.verify import Reference


@dataclass(frozen=True)
class Attempt:
    """A smaller network, and what it was made by.

    Args:
        small: The network, in float64 where the reference is.
        made: Its record.
        channels: The labels that it was cut by.
        keep: Which of them are left, (labels,).
        needs: What the outputs depend on.
        dead: Numbers of the outputs that do not depend on the input.
        heads: What modules were told of their heads.
        otherwise: What the network does otherwise in training.
    """

    small: nn.Module
    made: Compaction
    channels: Channels
    keep: Tensor
    needs: Needs
    dead: list[int]
    heads: Heads
    otherwise: Otherwise | None = None

    @property
    def cut(self) -> Cut:
        """What it was cut by."""
        return Cut(self.small, self.channels, self.keep)


def exact(
    model: nn.Module,
    traced: list[list[Node]],
    reference: Reference,
    round_to: int,
    pinned: dict[str, str],
    *,
    folds: bool,
    together: bool = False,
) -> Attempt:
    """The smaller network in float64, with what its code needs added to ``pinned``, node by node.

    Args:
        model: The original.
        traced: Its trace, and that of what training alone runs.
        reference: Of the original.
        round_to: As :func:`secateur.compact` has it.
        pinned: Name of a node to the reason why its channels stay; filled in place.
        folds: Whether constants that are not zero are folded on.
        together: As :func:`heads_left` has it.

    Raises:
        ValueError: If the copy computes something else even with all channels kept.
    """
    example, dtypes = reference.inputs[0], {n: t.dtype for n, t in named(model).items()}
    shapes: Run | None = None
    values: Run | None = None
    failed: Counter[tuple[str, str]] = Counter()
    asked, known, alone = folds, True, False
    read: set[str] = set()
    said: list[str] = []
    looked, untold = set[str](), set[str]()

    def attempt(of: nn.Module, pins: Mapping[str, str], *, folds: bool, known: bool) -> Attempt:
        made = _attempt(
            of, traced, round_to, {**pinned, **pins}, (untold, together), folds=folds, known=known, read=read
        )
        if not reference.wide:
            narrowed(made.small, dtypes)
        return made

    training = ForTraining(
        reference, model, traced, lambda of, pins: attempt(of, pins, folds=False, known=False).cut
    )
    while True:
        tried = attempt(model, training.pins, folds=folds, known=known)
        reason = reference.wrong(tried.small)
        if reason is None:
            other = None if alone else reference.elsewhere(tried.small)
            if other is None:
                if training.needs_more(tried.cut):
                    continue
                pinned.update(training.pins)
                tried = replace(tried, otherwise=training.otherwise)
                tried.made.unread = training.unread
                tried.made.constant = staying(tried.channels, tried.keep, tried.needs)
                tried.made.pinned |= dict.fromkeys(said, 0)
                return tried
            if folds or known:  # at first without those that are not zero
                folds, known = False, folds
                which = "constants that are not zero" if known else "constants"
                said = [f"{which} are not counted on, since they are others at other sizes ({other})"]
            else:  # it is none of the constants
                alone, folds, known = True, asked, True
                said = [f"exact at the size of the example alone ({other})"]
                warnings.warn(f"compact: {said[0]}; give an example of the size that is used.", stacklevel=3)
            pinned.clear()
            failed.clear()
            continue
        run = watched(reference, tried.small, example, values=False)
        replaced = tried.made.constants
        unseen = {path: settings for path, settings in replaced.items() if path not in looked}
        if run.error is not None and (more := missed(reference, model, unseen)):
            read |= more
            pinned.clear()
            failed.clear()
            continue
        looked.update(replaced if run.error is not None else ())
        shapes = shapes or watched(reference, model, example, values=False)
        found, reason = parting(shapes, run, tried.channels, tried.keep, tried.needs, replaced)
        if not found and run.error is None:
            values = values or watched(reference, model, example, values=True)
            again = watched(reference, tried.small, example, values=True)
            found, reason = parting(values, again, tried.channels, tried.keep, tried.needs, replaced)
        blamed = run.stopped[0] if run.error is not None else None
        if blamed in tried.heads and not any(removes(n, tried.channels, tried.keep) for n in found):
            untold.add(blamed)  # it is the number of heads itself that does not fit there
            continue
        chosen = removed_above(found, tried.channels, tried.keep) or removed_above(
            [n for n in traced[0] if n.op == "output"], tried.channels, tried.keep
        )
        chosen = chosen or [n for n in traced[0] if n.name not in pinned]
        if not chosen and replaced:  # something may look at what they are
            read.update(replaced)
            pinned.clear()
            failed.clear()
            continue
        if not chosen and known:  # such as the floor of what is zero but for rounding
            known = False
            where = found[0].place if found else reason
            said.append(f"constants are not counted on, since rounding decides them ({where})")
            pinned.clear()
            failed.clear()
            continue
        if not chosen:
            raise ValueError(
                f"compact: even with all channels kept, the copy does not compute the same ({reason}); does the network "
                "give the same twice in eval mode?"
            )
        place = next((node for node in found if node in chosen), (found or chosen)[0])
        lines = {(node.op, node.source) for node in chosen if node in found and node.op in operations.MOVES}
        failed.update(lines)
        twice = {line for line in lines if failed[line] > 1}  # sizes that are written there, for every block
        alike = [node for node in traced[0] if (node.op, node.source) in twice]
        chosen += [node for node in alike if removes(node, tried.channels, tried.keep)]
        for node in chosen:
            pinned[node.name] = needed_by(model, place, reason)


def _attempt(
    model: nn.Module,
    traced: list[list[Node]],
    round_to: int,
    pinned: Mapping[str, str],
    heads: tuple[Collection[str], bool],
    *,
    folds: bool,
    known: bool,
    read: Collection[str],
) -> Attempt:
    small = copied(model)
    widened(small)
    state = named(small)
    channels = find_channels(small, traced[0], pinned, traced[1])
    fixed, _ = fixed_values(channels.nodes, state)
    values = constant_values(channels.nodes, state, fixed)
    dead = constant_outputs(channels.nodes, values)
    if not folds:
        values = zeros_alone(values)
    if not known:
        values = nothing_known(values, fixed)
    biases = fold_constants(small, channels.nodes, values)
    needs = needed(channels.nodes, values, fixed, state)
    if thin := thinned(channels.nodes, needs):
        channels = find_channels(small, traced[0], pinned, traced[1], thinned=thin)
    shapes = {name: list(tensor.shape) for name, tensor in state.items()}
    strength = strengths(channels, state)
    constants = constant_layers(small, channels.nodes, values, needs, read)
    gone = {f"{path}.weight" for path in constants}
    keep = alive(channels, needs)
    complete(channels, keep, strength, gone, round_to)

    kept: dict[str, dict[int, Tensor]] = {}
    for (name, axis), ids in channels.axes.items():
        kept.setdefault(name, {})[axis] = ((ids < 0) | keep[ids.clamp(min=0)]).nonzero().flatten()
    for path in biases:
        kept[f"{path}.bias"] = {0: kept[f"{path}.weight"][0]} if 0 in kept.get(f"{path}.weight", {}) else {}
    for path, value in constants.items():
        outputs = kept.get(f"{path}.weight", {}).get(0)
        put_constant(small, path, value if outputs is None or value is None else value[outputs])
    names = set(named(small))
    groups = group_counts(small, channels, keep)
    said = heads_left(small, channels, keep, heads[0], together=heads[1])
    groups |= cut(small, {name: axes for name, axes in kept.items() if name in names}, thin)
    tell_heads(small, said)
    indices = {n: {a: i.tolist() for a, i in axes.items()} for n, axes in kept.items() if n in names}
    made = Compaction(
        {n: axes for n, axes in indices.items() if axes},
        {path: settings_of(small.get_submodule(path)) for path in constants},
        [path for path in biases if path not in constants],
        dict(channels.pins),
        channels=(channels.count, int(keep.sum())),
        groups=groups,
        shapes={name: shapes[name] for name, axes in indices.items() if axes and name in shapes},
        told=told(model, small),
    )
    return Attempt(small, made, channels, keep, needs, dead, said)
