"""Which weights may be pruned, and how they are partitioned into components."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Literal

from torch import nn
from torch.nn.modules.conv import _ConvNd  # pyright: ignore[reportPrivateUsage]

from secateur.problem.choices import check_choice
from secateur.problem.kinds import kinds
from secateur.problem.left_out import left_out
from secateur.problem.problem import Problem, example

Components = dict[str, tuple[str, ...]]
By = Literal["owner", "sharing", "layer", "block", "kind", "all"] | Mapping[str, str | Sequence[str]]


def prunable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Names and parameters of the weights that may be pruned.

    These are the trainable weights of convolutions, linear layers and attention projections; never biases,
    normalisations or embeddings (AdapMTL, section 3). What else is left out is named in one warning: a weight that several
    modules share, because a mask on one of them would not reach the other; one under a parametrization or an older hook of the
    user's own, such as ``weight_norm`` or ``prune``, because what the layer computes with is no parameter; complex weights, which
    are trained and stay dense; and scripted layers.
    """
    uses = Counter(id(p) for _, p in model.named_parameters(remove_duplicate=False))
    found = {name: p for name, p in _weights(model) if p.requires_grad}
    tied = sorted(name for name, p in found.items() if uses[id(p)] > 1)
    reasons = [f"because several modules share them: {tied}."] if tied else []
    if reasons := reasons + left_out(model):
        # Of one place, so that it is said once however often this is asked.
        warnings.warn("Not pruned, " + " Not pruned, ".join(reasons), stacklevel=1)
    return {name: p for name, p in found.items() if name not in tied}


def components(problem: Problem, by: By = "owner") -> Components:
    """Partition of the prunable weights: component name to parameter names.

    Args:
        problem: Gives the model and, for ``by="owner"`` and ``"sharing"``, the owners of its parameters.
        by: ``"owner"``: one component per set of tasks that a weight serves; what all tasks share is called
            ``backbone``, what one task owns bears its name, what some share is ``a+b``.
            ``"sharing"``: ``backbone`` (several owners) and ``heads`` (one). ``"block"``: the innermost module
            around a layer that holds another one, such as a residual block or the attention of a transformer layer.
            ``"kind"``: ``attention``, ``feed_forward`` (other linear layers) and ``convolution``, each over the whole network
            (AdapMTL, Appendix C.3). ``"layer"``: every weight. ``"all"``: one component.
            A mapping of parameter names, ``{name: glob pattern}`` or ``{name: [glob patterns]}``, says it by hand; they must name
            every prunable weight, once.

    Raises:
        ValueError: If nothing can be pruned, ``by`` is unknown, or the patterns miss or repeat a weight.
    """
    check_choice("by", by, By)
    names = tuple(prunable(problem.model))
    if not names:
        raise ValueError(
            "The model has no convolution or linear weight that requires a gradient; nothing can be pruned."
            + "".join(f" Not pruned, {reason}" for reason in left_out(problem.model))
        )
    if isinstance(by, Mapping):
        return _by_pattern(names, by)
    groups: dict[str, list[str]] = {}
    sharing: dict[str, frozenset[str]] = {}
    of = kinds(problem.network, example(problem), prunable(problem.model)) if by == "kind" else {}
    for name in names:
        match by:
            case "owner":
                key = _owner_name(problem, name)
                if (
                    key != "backbone"
                    and sharing.setdefault(key, problem.owners[name]) != problem.owners[name]
                ):
                    raise ValueError(
                        f"Weights of tasks {sorted(sharing[key])} and of {sorted(problem.owners[name])} would both be called {key!r}: "
                        "what some tasks share bears their names joined by '+'; rename a task."
                    )
            case "sharing":
                key = "backbone" if len(problem.owners[name]) != 1 else "heads"
            case "layer":
                key = name.rpartition(".")[0] or name
            case "block":
                key = _block_name(names, name)
            case "kind":
                key = of[name]
            case "all":
                key = "all"
        groups.setdefault(key, []).append(name)
    return {key: tuple(members) for key, members in groups.items()}


def _weights(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    for prefix, module in model.named_modules():
        own = dict(module.named_parameters(recurse=False))
        if isinstance(module, (_ConvNd, nn.Linear)):
            attribute = "weight"
        elif isinstance(module, nn.MultiheadAttention) and "in_proj_weight" in own:
            attribute = "in_proj_weight"
        else:
            continue
        parameter = own.get(attribute)  # under the user's own weight_norm there is none
        if parameter is not None and not parameter.is_complex():
            yield f"{prefix}.{attribute}" if prefix else attribute, parameter


def _owner_name(problem: Problem, name: str) -> str:
    owners = problem.owners[name]
    if "backbone" in problem.tasks:
        raise ValueError(
            "A task is called 'backbone', which is the name of the shared component; rename the task."
        )
    # A single task owns all of the network, or only its part of it; what no task reaches counts as shared.
    if len(owners) == 1:
        return next(iter(owners))
    return "backbone" if not owners or owners == frozenset(problem.tasks) else "+".join(sorted(owners))


def _block_name(names: tuple[str, ...], name: str) -> str:
    """The innermost module around the layer that holds another prunable weight too: a residual block, a branch."""
    parts = name.split(".")[:-1]
    for depth in range(len(parts) - 1, 0, -1):
        prefix = ".".join(parts[:depth])
        if sum(other.startswith(prefix + ".") for other in names) > 1:
            return prefix
    return ".".join(parts) or name


def _by_pattern(names: tuple[str, ...], patterns: Mapping[str, str | Sequence[str]]) -> Components:
    found: Components = {}
    claimed: dict[str, str] = {}
    for component, given in patterns.items():
        globs = [given] if isinstance(given, str) else given
        members = tuple(n for n in names if any(fnmatchcase(n, glob) for glob in globs))
        if not members:
            raise ValueError(
                f"components: no prunable weight matches {component!r} = {list(globs)}; the weights are {list(names)}."
            )
        for member in members:
            if member in claimed:
                raise ValueError(
                    f"components: {member!r} matches both {claimed[member]!r} and {component!r}; make the patterns disjoint."
                )
            claimed[member] = component
        found[component] = members
    rest = [n for n in names if n not in claimed]
    if rest:
        raise ValueError(
            f"components: no pattern matches {rest}; every prunable weight must belong to a component."
        )
    return found
