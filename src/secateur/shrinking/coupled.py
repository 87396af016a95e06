"""Groups of all weights that read one channel, of those channels that compact will remove."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from secateur.problem import Call, Input, Problem, called, check_takes, example, looking
from secateur.pruning import Groups, input_groups, shared_convolutions
from secateur.shrinking.channels import (
    OUTPUT,
    Node,
    find_channels,
    layer_weights,
    trace,
    training_nodes,
)
from secateur.shrinking.copying import bake, copied, evaluating
from secateur.shrinking.exact import exact
from secateur.shrinking.names import check_values
from secateur.shrinking.partition import least, partition, thinnings
from secateur.shrinking.reached import check_fits, check_reached
from secateur.shrinking.verify import Reference

_FROZEN = "a frozen layer reads or gives them"
_COMPUTED = "a layer whose weight a norm or mask of torch computes reads or gives them"
_BATCH = 2  # samples of an input that the smaller networks are tried on
Places = dict[tuple[str, int], Tensor]  # weight and axis to what holds of each index along it


@torch.no_grad()
def coupled_groups(model: nn.Module, example: Input, *, call: Call | None = None) -> Groups:
    """One group for each channel that can be removed: what reads it, in all layers, across residuals and branches.

    A group holds the input-channel slices of every convolution and linear layer that reads the channel, and of those in
    groups whole groups, or the same channels of every group, where the network gets smaller so. Once it is zero no output
    depends on the channel, so the rows that produce it, and its BatchNorm, go too. What the user's code fixes, such as a
    size that is written out, is found out as :func:`secateur.compact` does: in a copy a random half of the groups dies and
    the copy is made smaller, then the other half.
    Channels that stay, whatever keeps them, belong to no group; nor do those that a frozen layer reads or gives, or one whose
    weight a norm or mask of torch computes. A frozen normalisation, or another parameter that is used element by element,
    goes with the channels that it is for.

    Args:
        model: A plain module; it is left as it was.
        example: What it takes.
        call: How the model is called where ``model(example)`` does not do, as in a :class:`secateur.Problem`.

    Raises:
        ValueError: If the model cannot be traced, does not take the example, lacks the input of a task there (as
            :func:`secateur.compact` has it), or has no channel that can be removed; the message says what keeps them.
    """
    if isinstance(model, Problem):
        raise TypeError(
            "coupled_groups: model is a Problem; give problem.model, or ask problem_groups(problem)."
        )
    check_values("coupled_groups", model)
    inner, draw = evaluating(model), torch.Generator().manual_seed(0)
    bake(inner)
    whole = called(inner, call)
    check_takes("coupled_groups", copied(whole), example)
    _enliven(whole, draw)
    nodes = trace(whole, example)
    training = training_nodes(whole, example, nodes)
    unreached, hidden = check_reached("coupled_groups", whole, example, training.unreached), training.nodes
    trained = {name for name, p in whole.named_parameters() if p.requires_grad}
    computed = {name for name, _ in whole.named_parameters()} - {name for name, _ in model.named_parameters()}
    still = {_COMPUTED: layer_weights([*nodes, *hidden]) & computed}
    still[_FROZEN] = layer_weights([*nodes, *hidden]) - trained - computed
    made = [_Making(whole, example, [nodes, hidden], still, frozenset())]
    made += [
        _Making(whole, example, [nodes, hidden], still, thinned) for thinned in thinnings(made[0].channels)
    ]
    best: _Making | None = None
    for one in sorted(made, key=_Making.least):
        if best is None or one.least() < best.least():  # no smaller once it is tried
            one.tried(draw)
            best = one if best is None or one.least() < best.least() else best
    assert best is not None
    groups = best.groups
    check_fits("coupled_groups", whole, unreached, best.channels, best.lasting())
    if not groups.count:
        raise ValueError(
            f"The model has no channel that can be removed: {'; '.join(groups.pins) or 'all are inputs or outputs'}."
        )
    return groups


def default_groups(problem: Problem) -> Groups:
    """The input channels of the convolutions that several tasks share; where there is none, :func:`problem_groups`."""
    if shared_convolutions(problem):
        return input_groups(problem)
    return problem_groups(problem)


def problem_groups(problem: Problem) -> Groups:
    """The :func:`coupled_groups` of a problem's model, tried on a few samples of its first training batch."""
    x = example(problem)
    parts = [part for part in pytree.tree_leaves(x) if isinstance(part, Tensor)]
    if len({part.shape[:1] for part in parts}) == 1 and parts[0].dim():
        x = pytree.tree_map_only(Tensor, lambda part: part[:_BATCH], x)
    extra = _of_no_task(problem, x)
    try:
        groups = coupled_groups(problem.network, x)
    except ValueError as error:
        if not extra:
            raise
        raise ValueError(f"{error} The model returns more than the tasks: {extra}.") from error
    if extra and OUTPUT in groups.pins:
        pins = {
            f"{OUTPUT}; among them {extra}" if why == OUTPUT else why: n for why, n in groups.pins.items()
        }
        groups = replace(groups, pins=pins)
    return groups


def _of_no_task(problem: Problem, x: Input) -> str:
    """Outputs that are no tasks and keep their channels all the same, and the remedy; empty where there are none."""
    network = problem.network
    try:
        with looking(network), torch.no_grad():
            network.eval()
            found: Any = network(x)
    except Exception:  # the trace says what is wrong
        return ""
    others = [str(name) for name in found if name not in problem.tasks] if isinstance(found, Mapping) else []
    if not others:
        return ""
    own = ", ".join(f"'{task}': y['{task}']" for task in problem.tasks)
    return (
        f"{', '.join(map(repr, others))}, no task, which the forward pass need not return, or Problem(..., call=f) leaves out: "
        "def f(model, x): y = model(x); "
        f"return {{{own}}}"
    )


def _enliven(model: nn.Module, draw: torch.Generator) -> None:
    """Gives what is zero, such as the last scale of a residual branch before training, a value: nothing is dead yet."""
    for name, value in model.named_parameters():
        if value.is_floating_point() and not name.endswith("bias") and bool((zero := value == 0).any()):
            spread = float(value.double().square().mean().sqrt()) or 0.1
            noise = spread * torch.randn(value.shape, generator=draw)
            value.data = torch.where(zero, noise.to(value), value.data)


class _Making:
    """Groups in the making, of convolutions in groups of which those ``thinned`` lose the same channels of every group.

    Args:
        model: Of live weights.
        example: What it takes.
        traced: Its trace, and that of what training alone runs.
        still: Why weights stay as they are -> which.
        thinned: As :func:`find_channels` has it.
    """

    def __init__(
        self,
        model: nn.Module,
        example: Input,
        traced: list[list[Node]],
        still: Mapping[str, Set[str]],
        thinned: Collection[str],
    ) -> None:
        self.model, self.example, self.traced = model, example, traced
        self.still, self.thinned = still, thinned
        self.pinned: dict[str, str] = {}
        self.staying: Places = {}
        self.groups = self._read()

    def least(self) -> float:
        """How many weights are left at least."""
        return least(self.groups, {name: p.numel() for name, p in self.model.named_parameters()})

    def lasting(self) -> Tensor:
        """The labels that belong to no group, (labels,) bool."""
        keep = torch.ones(max(1, self.channels.count), dtype=torch.bool)
        for name, ids in self.groups.index.items():
            if bool((ids >= 0).any()):
                keep[self.channels.axes[name, self.groups.axis[name]][ids >= 0]] = False
        return keep

    def tried(self, draw: torch.Generator) -> None:
        """Finds out what the user's code fixes: a smaller network without half of the groups is made, and one without the others."""
        dying = torch.rand(self.groups.count, generator=draw) < 0.5
        for _ in range(2):
            if not self.groups.count:
                return
            for key, places in self._kept(dying).items():
                self.staying[key] = self.staying[key] | places if key in self.staying else places
            former, self.groups = self.groups, self._read()
            dying = ~_renumbered(dying, former, self.groups)

    def _read(self) -> Groups:
        self.channels = find_channels(
            self.model, self.traced[0], self.pinned, self.traced[1], thinned=self.thinned
        )
        return partition(self.channels, self.still, self.staying, self.thinned)

    def _kept(self, dying: Tensor) -> Places:
        """What stays although its group is dead; lines that need their channels are added to what is pinned."""
        groups, alive = self.groups, ~dying
        alive |= groups.strongest(alive.float())
        other = copied(self.model)
        weights = {name: p for name, p in other.named_parameters() if name in groups.axis}
        host = {name: torch.empty(p.shape, device="meta") for name, p in weights.items()}
        for name, mask in groups.masks(alive, host).items():
            weights[name].data.mul_(mask.to(weights[name]))
        reference = Reference(other, self.example, 1e-5)
        tried = exact(other, self.traced, reference, 1, self.pinned, folds=True, together=True)
        staying: Places = {}
        for name, axis in groups.axis.items():
            ids = groups.index[name]
            labels = tried.channels.axes.get((name, axis))
            kept = (ids >= 0) & ~alive[ids.clamp(min=0)]
            if labels is not None:  # else whole groups went of what was to be thinned
                kept &= (labels >= 0) & tried.keep[labels.clamp(min=0)]
            if bool(kept.any()):
                staying[name, axis] = kept
        return staying


def _renumbered(values: Tensor, old: Groups, new: Groups) -> Tensor:
    """The values of the old groups, given to the new ones: those that lie at the same places."""
    found = torch.zeros(new.count, dtype=values.dtype)
    for name, ids in new.index.items():
        both = (ids >= 0) & (old.index[name] >= 0)
        found[ids[both]] = values[old.index[name][both]]
    return found
