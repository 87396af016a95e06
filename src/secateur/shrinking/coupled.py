"""Groups of all weights that read one channel, of those channels that compact will remove."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from secateur.problem import Call, Input, Problem, called, check_takes, example, looking
from secateur.pruning import Groups, input_groups, shared_convolutions
from secateur.shrinking.channels import (
    OUTPUT,
    Channels,
    Node,
    find_channels,
    layer_weights,
    layers,
    trace,
    training_nodes,
)
from secateur.shrinking.copying import bake, copied, evaluating
from secateur.shrinking.exact import exact
from secateur.shrinking.names import named
from secateur.shrinking.verify import Reference

_FROZEN = "a frozen layer reads or gives them"
_COMPUTED = "a layer whose weight a norm or mask of torch computes reads or gives them"
_BATCH = 2  # samples of an input that the smaller networks are tried on
Places = dict[tuple[str, int], Tensor]  # weight and axis to what holds of each index along it


@torch.no_grad()
def coupled_groups(model: nn.Module, example: Input, *, call: Call | None = None) -> Groups:
    """One group for each channel that can be removed: what reads it, in all layers, across residuals and branches.

    A group holds the input-channel slices of every convolution and linear layer that reads the channel, and of grouped
    convolutions whole groups. Once it is zero no output depends on the channel, so the rows that produce it, and
    its BatchNorm, go too. What the user's code fixes, such as a size that is written out, is found out as
    :func:`secateur.compact` does: in a copy a random half of the groups dies and the copy is made smaller, then the other half.
    Channels that stay, whatever keeps them, belong to no group; nor do those that a frozen layer reads or gives, or one whose
    weight a norm or mask of torch computes. A frozen normalisation, or another parameter that is used element by element,
    goes with the channels that it is for.

    Args:
        model: A plain module; it is left as it was.
        example: What it takes.
        call: How the model is called where ``model(example)`` does not do, as in a :class:`secateur.Problem`.

    Raises:
        ValueError: If the model cannot be traced, does not take the example, or has no channel that can be removed; the
            message says what keeps them.
    """
    if isinstance(model, Problem):
        raise TypeError(
            "coupled_groups: model is a Problem; give problem.model, or ask problem_groups(problem)."
        )
    inner, draw = evaluating(model), torch.Generator().manual_seed(0)
    bake(inner)
    whole = called(inner, call)
    check_takes("coupled_groups", copied(whole), example)
    _enliven(whole, draw)
    nodes = trace(whole, example)
    hidden = training_nodes(whole, example, nodes).nodes
    trained = {name for name, p in whole.named_parameters() if p.requires_grad}
    computed = {name for name, _ in whole.named_parameters()} - {name for name, _ in model.named_parameters()}
    still = {_COMPUTED: layer_weights([*nodes, *hidden]) & computed}
    still[_FROZEN] = layer_weights([*nodes, *hidden]) - trained - computed
    pinned: dict[str, str] = {}
    staying: Places = {}
    groups = _groups(find_channels(whole, nodes, pinned, hidden), still, staying)
    dying = torch.rand(groups.count, generator=draw) < 0.5
    for _ in range(2):
        if not groups.count:
            break
        for key, places in _tried(whole, example, [nodes, hidden], groups, dying, pinned).items():
            staying[key] = staying[key] | places if key in staying else places
        former, groups = groups, _groups(find_channels(whole, nodes, pinned, hidden), still, staying)
        dying = ~_renumbered(dying, former, groups)
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


def _groups(
    channels: Channels, still: Mapping[str, Set[str]], staying: Mapping[tuple[str, int], Tensor]
) -> Groups:
    """The groups of these labels, without those that were seen to stay and those of weights that are ``still``, by the reason."""
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
        axis[name] = 0 if layer.groups > 1 else layer.input_axis
        index[name] = _of(channels, name, axis[name], layer.weight.shape)
        if layer.groups == 1:
            rows[name] = _of(channels, name, layer.output_axis, layer.weight.shape)
            if layer.output_axis:
                outputs[name] = layer.output_axis
    used = torch.unique(torch.cat([torch.tensor([-1]), *index.values()]))
    used = used[(used >= 0) & ~stay[used]]
    number = torch.full((channels.count + 1,), -1)
    number[used] = torch.arange(used.numel())
    index, rows = ({name: number[ids] for name, ids in part.items()} for part in (index, rows))
    return Groups(used.numel(), axis, index, rows, outputs, pins)


def _of(channels: Channels, name: str, axis: int, shape: tuple[int, ...]) -> Tensor:
    return channels.axes.get((name, axis), torch.full((shape[axis],), -1))


def _tried(
    model: nn.Module,
    example: Input,
    traced: list[list[Node]],
    groups: Groups,
    dying: Tensor,
    pinned: dict[str, str],
) -> Places:
    """What stays although its group is dead: a smaller network is made without the groups that are dying.

    Lines that need their channels are added to ``pinned``.
    """
    alive = ~dying
    alive |= groups.strongest(alive.float())
    other = copied(model)
    weights = {name: p for name, p in other.named_parameters() if name in groups.axis}
    host = {name: torch.empty(p.shape, device="meta") for name, p in weights.items()}
    for name, mask in groups.masks(alive, host).items():
        weights[name].data.mul_(mask.to(weights[name]))
    tried = exact(other, traced, Reference(other, example, 1e-5), 1, pinned, folds=True)
    staying: Places = {}
    for name, axis in groups.axis.items():
        ids = groups.index[name]
        labels = _of(tried.channels, name, axis, tuple(named(model)[name].shape))
        kept = (labels >= 0) & tried.keep[labels.clamp(min=0)] & (ids >= 0) & ~alive[ids.clamp(min=0)]
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
