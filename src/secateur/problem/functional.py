"""A trace without operations in place, where that is plain to see, in a tenth of the time that ``run_decompositions`` takes."""

from __future__ import annotations

import copy
import operator
from typing import Any

import torch
from torch import Tensor, fx
from torch._ops import HigherOrderOperator, OpOverload

_aten = torch.ops.aten
_DROPOUTS = (_aten.dropout.default, _aten.dropout_.default)
_NORM = _aten._native_batch_norm_legit_no_training.default
# Of what is sure to be a tensor of its own: neither an argument nor a view of one.
_FRESH = {
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "linear", "addmm", "add", "sub",
    "mul", "cat", "relu", "relu6", "hardtanh", "hardswish", "hardsigmoid", "sigmoid", "silu", "gelu", "leaky_relu", "elu",
    "max_pool2d", "avg_pool2d", "layer_norm", "group_norm",
}  # fmt: skip


def functional(graph: fx.Graph) -> fx.Graph | None:
    """A copy, each operation in place made one that is not, and BatchNorm and dropout as they are in inference.

    Args:
        graph: ATen operations of a model in eval mode, as ``torch.export.export`` gives them.

    Returns:
        The copy; None where something is changed in place that others may see, or where graphs are within the graph.
    """
    graph = copy.deepcopy(graph)
    for node in list(graph.nodes):
        target = node.target
        if node.op == "call_module" or isinstance(target, HigherOrderOperator):
            return None
        if target in _DROPOUTS and node.args[2] is False:
            _replace(node, node.args[0])
        elif target is _aten.batch_norm.default:
            if node.args[5] is not False:
                return None  # it changes its buffers, though it does not say so
            with graph.inserting_before(node):
                made = graph.call_function(_NORM, (*node.args[:5], *node.args[6:8]))
                made.meta = dict(node.meta)
                if (value := node.meta.get("val")) is not None:
                    made.meta["val"] = (value, value.new_empty(0), value.new_empty(0))
                _replace(node, graph.call_function(operator.getitem, (made, 0)))
        elif isinstance(target, OpOverload) and _schema(target).is_mutable:
            if (of_its_own := _of_its_own(node, target)) is None:
                return None
            with graph.inserting_before(node):
                _replace(node, graph.call_function(of_its_own, node.args, node.kwargs))
    return graph


def _replace(node: fx.Node, by: Any) -> None:
    if by.meta.get("val") is None:
        by.meta = dict(node.meta)
    node.replace_all_uses_with(by)
    node.graph.erase_node(node)


def _of_its_own(node: fx.Node, target: OpOverload[..., Any]) -> OpOverload[..., Any] | None:
    """The operation that gives a new tensor, where ``node`` alone reads what it changes and kinds of numbers stay."""
    name, _, overload = target.name().partition("::")[2].partition(".")
    found = getattr(getattr(_aten, name.removesuffix("_"), None), overload or "default", None)
    given = node.args[0] if node.args else None
    if found is None or _schema(found).is_mutable or not isinstance(given, fx.Node) or len(given.users) != 1:
        return None
    changed = [argument.alias_info is not None for argument in _schema(target).arguments]
    kinds = {x.meta["val"].dtype for x in node.all_input_nodes if isinstance(x.meta.get("val"), Tensor)}
    return found if changed[0] and not any(changed[1:]) and len(kinds) == 1 and _fresh(given) else None


def _fresh(node: fx.Node) -> bool:
    if node.target is operator.getitem:
        source = node.args[0]
        return isinstance(source, fx.Node) and source.target is _NORM
    target = node.target
    return isinstance(target, OpOverload) and target.name().partition("::")[2].partition(".")[0] in _FRESH


def _schema(target: OpOverload[..., Any]) -> torch.FunctionSchema:
    return target._schema  # pyright: ignore[reportPrivateUsage]
