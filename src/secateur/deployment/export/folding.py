"""What is made simpler before a file is written: BatchNorm folded into the convolution before it, wherever that is exact; axes not squeezed; averages."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, fx, nn

_aten = torch.ops.aten
_NORM = _aten._native_batch_norm_legit_no_training.default
_CONVOLUTIONS = {
    _aten.conv1d.default,
    _aten.conv1d.padding,
    _aten.conv2d.default,
    _aten.conv2d.padding,
    _aten.conv3d.default,
    _aten.conv3d.padding,
}
_TRANSPOSED = {_aten.conv_transpose1d.default, _aten.conv_transpose2d.input, _aten.conv_transpose3d.input}
_AVERAGES = {_aten.avg_pool1d.default: 1, _aten.avg_pool2d.default: 2, _aten.avg_pool3d.default: 3}
_SQUEEZES = {_aten.squeeze.dim, _aten.squeeze.dims}


def fold_batch_norm(module: fx.GraphModule) -> fx.GraphModule:
    """Folds each BatchNorm whose input is a convolution that nothing else reads; returns what is still reached.

    Computed in float64. A BatchNorm after anything else stays. What no output depends on is removed with its weights.

    Args:
        module: Functional ATen operations, in inference.
    """
    graph, made = module.graph, dict[tuple[Any, ...], tuple[str, str]]()
    for norm in [node for node in graph.nodes if node.target is _NORM]:
        convolution = _folds(norm)
        if convolution is None:
            continue
        key = (*convolution.args[1:3], *norm.args[1:])  # a module that is called twice is folded once
        if key not in made:
            made[key] = _add(module, convolution, len(made), *_folded(module, convolution, norm))
        with graph.inserting_before(convolution):
            weight, bias = (graph.get_attr(name) for name in made[key])
        convolution.args = (convolution.args[0], weight, bias, *convolution.args[3:])
        for read in list(norm.users):
            read.replace_all_uses_with(convolution)
            graph.erase_node(read)
        graph.erase_node(norm)
    graph.eliminate_dead_code()
    return fx.GraphModule(module, graph)  # copies only what the graph reads


def unsqueezed(graph: fx.Graph) -> None:
    """Axes that are not 1 are not squeezed, in place: torch leaves them alone, and ONNX refuses them.

    Args:
        graph: Functional ATen operations with what torch knows of their results.
    """
    for node in list(graph.nodes):
        if node.target not in _SQUEEZES:
            continue
        given: Any = node.args[0]
        value = given.meta.get("val")
        if not isinstance(value, Tensor):
            continue
        dims = node.args[1] if isinstance(node.args[1], (list, tuple)) else [node.args[1]]
        kept = [
            dim
            for dim in dims
            if not value.ndim or (isinstance(value.shape[dim], int) and value.shape[dim] == 1)
        ]
        if not kept:
            node.replace_all_uses_with(given)
            graph.erase_node(node)
        elif len(kept) < len(dims):
            node.args = (given, kept)


def averaged(graph: fx.Graph) -> None:
    """Average pools of which engines make something else are written out, in place.

    torch counts the padding where it is told to, but nothing beyond, into which windows reach where sizes are rounded up: that is the
    mean of zeros beyond, over the share of each window that counts. A divisor of the user's is a factor.

    Args:
        graph: Functional ATen operations.
    """
    for node in [node for node in graph.nodes if node.target in _AVERAGES]:
        x, dims = cast(fx.Node, node.args[0]), _AVERAGES[node.target]
        given = dict(zip(("size", "step", "pads", "up", "counts", "divisor"), node.args[1:], strict=False))
        size = _each(given["size"], dims)
        step, pads = _each(given.get("step") or size, dims), _each(given.get("pads", 0), dims)
        up, divisor = given.get("up", False), given.get("divisor")
        if divisor is None and not (up and given.get("counts", True) and any(pads)):
            continue
        more = [min(s - 1, k - 1 - p) if up else 0 for s, k, p in zip(step, size, pads, strict=True)]

        with graph.inserting_before(node):
            made = _pooled(node, (x, 0.0), size, step, pads, more)
            if divisor is not None:
                made = graph.call_function(_aten.mul.Tensor, (made, math.prod(size) / cast(int, divisor)))
            else:
                one = x
                for axis in range(x.meta["val"].ndim - dims):
                    one = graph.call_function(_aten.slice.Tensor, (one, axis, 0, 1))
                one = graph.call_function(_aten.ones_like.default, (one,))
                made = graph.call_function(
                    _aten.div.Tensor, (made, _pooled(node, (one, 1.0), size, step, pads, more))
                )
        made.meta.update(node.meta)
        node.replace_all_uses_with(made)
        graph.erase_node(node)


def _pooled(
    like: fx.Node,
    of: tuple[fx.Node, float],
    size: Sequence[int],
    step: Sequence[int],
    pads: Sequence[int],
    more: Sequence[int],
) -> fx.Node:
    """The mean of what is padded with a value all around, and with zeros at the end, over windows of ``size``."""
    graph = like.graph
    around = [pad for pad in reversed(pads) for _ in range(2)]
    beyond = [pad for last in reversed(more) for pad in (0, last)]
    inside = graph.call_function(_aten.constant_pad_nd.default, (of[0], around, of[1]))
    whole = graph.call_function(_aten.constant_pad_nd.default, (inside, beyond, 0.0))
    return graph.call_function(cast(Any, like.target), (whole, list(size), list(step)))


def _each(value: Any, dims: int) -> list[int]:
    """One number an axis."""
    listed = list(value) if isinstance(value, (list, tuple)) else [value]
    return listed if len(listed) == dims else listed * dims


def _folds(norm: fx.Node) -> fx.Node | None:
    """The convolution that takes ``norm`` in, if that is exact."""
    convolution = norm.args[0]
    if not isinstance(convolution, fx.Node) or convolution.target not in _CONVOLUTIONS | _TRANSPOSED:
        return None
    constants = [a for a in (*convolution.args[1:3], *norm.args[1:5]) if a is not None]
    constant = all(isinstance(a, fx.Node) and a.op == "get_attr" for a in constants)
    only = len(convolution.users) == 1 and not convolution.kwargs
    first = all(read.target is operator.getitem and read.args[1] == 0 for read in norm.users)
    return convolution if constant and only and first else None


def _folded(module: fx.GraphModule, convolution: fx.Node, norm: fx.Node) -> tuple[Tensor, Tensor]:
    kernel, bias, gamma, beta, mean, variance = (
        _value(module, a) for a in (*(*convolution.args[1:], None)[:2], *norm.args[1:5])
    )
    assert kernel is not None
    assert mean is not None
    assert variance is not None
    scale = (variance.double() + cast(float, norm.args[6])).rsqrt()  # (out,)
    scale = scale if gamma is None else scale * gamma.double()
    shift = (0.0 if bias is None else bias.double()) - mean.double()
    shift = shift * scale + (0.0 if beta is None else beta.double())
    if convolution.target in _TRANSPOSED:  # (in, out / groups, ...), the inputs of a group in a row
        groups = cast(int, convolution.args[6]) if len(convolution.args) > 6 else 1
        of_input = scale.view(groups, 1, -1).expand(groups, kernel.shape[0] // groups, -1)
        scale = of_input.reshape(kernel.shape[0], -1, *[1] * (kernel.ndim - 2))
    else:
        scale = scale.view(-1, *[1] * (kernel.ndim - 1))
    return (kernel.double() * scale).to(kernel.dtype), shift.to(kernel.dtype)


def _value(module: fx.GraphModule, node: Any) -> Tensor | None:
    if node is None:
        return None
    found: Any = module
    for name in node.target.split("."):
        found = getattr(found, name)
    return found.detach()


def _add(
    module: fx.GraphModule, convolution: fx.Node, index: int, weight: Tensor, bias: Tensor
) -> tuple[str, str]:
    """Beside the kernel that they stand for, so that names in the file say of which layer they are."""
    kernel = convolution.args[1]
    assert isinstance(kernel, fx.Node)
    place = str(kernel.target).rpartition(".")[0]
    names = f"folded_{index}_weight", f"folded_{index}_bias"
    for name, value in zip(names, (weight, bias), strict=True):
        module.get_submodule(place).register_parameter(name, nn.Parameter(value, requires_grad=False))
    first, second = (f"{place}.{name}" if place else name for name in names)
    return first, second
