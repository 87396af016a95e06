"""What kind of operation each ATen name is: the one table that the passes over a trace share."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx

# fmt: off
# One output element from the elements at the same (broadcast) place; so is what torch itself calls pointwise.
POINTWISE = frozenset({
    "_to_copy", "abs", "acos", "acosh", "add", "addcdiv", "addcmul", "alias", "alpha_dropout", "asin", "asinh", "atan", "atan2",
    "atanh", "bitwise_and", "bitwise_not", "bitwise_or", "bitwise_xor", "ceil", "celu", "clamp", "clamp_max", "clamp_min", "clone",
    "contiguous", "copy", "copysign", "cos", "cosh", "detach", "digamma", "div", "dropout", "elu", "eq", "erf", "erfc", "erfinv",
    "exp", "exp2", "expm1", "feature_dropout", "fill", "float_power", "floor", "floor_divide", "fmax", "fmin", "fmod", "frac", "ge",
    "gelu", "gt", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "heaviside", "hypot", "isfinite", "isinf", "isnan", "le",
    "leaky_relu", "lerp", "lgamma", "lift", "lift_fresh", "lift_fresh_copy", "log", "log10", "log1p", "log2", "log_sigmoid",
    "logaddexp", "logaddexp2", "logical_and", "logical_not", "logical_or", "logical_xor", "logit", "lt", "masked_fill", "maximum",
    "minimum", "mish", "mul", "nan_to_num", "ne", "neg", "positive", "pow", "reciprocal", "relu", "relu6", "remainder", "round",
    "rrelu", "rsqrt", "rsub", "selu", "sigmoid", "sign", "signbit", "silu", "sin", "sinc", "sinh", "softplus", "softshrink", "sqrt",
    "square", "sub", "tan", "tanh", "threshold", "to", "true_divide", "trunc", "type_as", "where", "xlogy",
})
# Each element at its place, in another tensor or another type.
COPIES = frozenset({"_to_copy", "alias", "clone", "contiguous", "detach", "to"})
# Of each channel for itself what lies within a triangle stays, the rest becomes zero.
TRIANGLES = frozenset({"tril", "triu"})
# Elements go elsewhere, unchanged.
MOVES = frozenset({
    "_unsafe_view", "cat", "channel_shuffle", "chunk", "concat", "expand", "expand_as", "flatten",
    "flip", "index", "index_select", "movedim", "narrow", "native_channel_shuffle", "permute", "pixel_shuffle", "pixel_unshuffle",
    "repeat", "repeat_interleave", "reshape", "roll", "select", "slice", "split", "split_with_sizes",
    "squeeze", "stack", "t", "transpose", "unbind", "unflatten", "unfold", "unsqueeze", "view",
})
# Each channel for itself, over space: axes from 2 on.
SPATIAL = frozenset({
    "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "_upsample_bicubic2d_aa", "_upsample_bilinear2d_aa",
    "_upsample_nearest_exact2d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d",
    "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d", "avg_pool1d", "avg_pool2d",
    "avg_pool3d", "constant_pad_nd", "grid_sampler", "grid_sampler_2d", "max_pool1d", "max_pool2d",
    "max_pool2d_with_indices", "max_pool3d", "max_unpool2d", "max_unpool3d", "pad", "reflection_pad1d", "reflection_pad2d",
    "replication_pad1d", "replication_pad2d", "upsample_bicubic2d", "upsample_bilinear2d",
    "upsample_linear1d", "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d",
    "upsample_trilinear3d",
})
# Several elements along given axes become one.
REDUCTIONS = frozenset({
    "all", "amax", "amin", "any", "linalg_vector_norm", "logsumexp", "mean", "norm", "prod", "std",
    "sum", "var",
})
# All elements along one axis depend on each other.
MIXINGS = frozenset({
    "_log_softmax", "_softmax", "cumprod", "cumsum", "log_softmax", "logcumsumexp", "softmax",
})
# New tensors of given values: they depend on no other.
CREATIONS = frozenset({
    "arange", "empty", "empty_like", "eye", "full", "full_like", "linspace", "new_empty", "new_full",
    "new_ones", "new_zeros", "ones", "ones_like", "scalar_tensor", "zeros",
    "zeros_like",
})
# What is at one place along an axis is picked out by its rank there, with where it was.
RANKINGS = frozenset({
    "argmax", "argmin", "argsort", "cummax", "cummin", "kthvalue", "max", "median", "min", "mode", "nanmedian", "sort", "topk",
})
CONVOLUTIONS = frozenset({
    "_convolution", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d",
    "conv_transpose3d", "convolution",
})
PRODUCTS = frozenset({
    "addmm", "bmm", "matmul", "mm",
})
# Rows that are each multiplied with one of several weights: (rows, inputs), (weights, inputs, outputs).
GROUPED = frozenset({"_grouped_mm", "grouped_mm", "grouped_mm_fallback"})
WITH_WEIGHTS = CONVOLUTIONS | PRODUCTS | GROUPED | {"linear"}
# Which argument of a product may be a weight.
WEIGHT_OF_PRODUCT = {"linear": 1, "addmm": 2, "bmm": 1, "matmul": 1, "mm": 1}
# They check, and give nothing.
CHECKS = frozenset({
    "_assert_async", "_assert_scalar", "_assert_tensor_metadata", "sym_constrain_range", "sym_constrain_range_for_size",
})
BATCH_NORMS = frozenset({
    "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "batch_norm", "instance_norm", "native_batch_norm",
})
# The same with the statistics of the batch, giving those that it holds from then on.
UPDATING_NORMS = frozenset({
    "_batch_norm_no_update", "_batch_norm_with_update", "_batch_norm_with_update_functional", "_native_batch_norm_legit_functional",
    "cudnn_batch_norm", "miopen_batch_norm",
})
# What has a rule here. The rest is decomposed by torch where it can (einsum, multiply, baddbmm), but for what it would unroll.
KNOWN = (
    POINTWISE | TRIANGLES | MOVES | SPATIAL | REDUCTIONS | MIXINGS | RANKINGS | CREATIONS | CONVOLUTIONS | PRODUCTS | BATCH_NORMS | CHECKS
    | {"embedding", "getitem", "group_norm", "layer_norm", "linear", "native_dropout", "native_layer_norm", "prelu", "rms_norm"}
    | GROUPED | {"scaled_dot_product_attention"}
)
UNROLLED = frozenset({"gru", "lstm", "rnn_relu", "rnn_tanh"})
AFTER_ANOTHER = frozenset({"to", "type_as"})  # they may take another tensor for its type alone; decomposed, they do not
# What a trace may hold as it is: the rest, most of all what may or may not be a view, is made functional by torch.
PLAIN = KNOWN - CHECKS - {"expand_as", "instance_norm", "movedim", "narrow", "native_layer_norm", "rms_norm", "to", "type_as"}
# fmt: on


def tagged(call: Any) -> bool:
    """Whether torch says of an operation that it is pointwise, and it gives one tensor."""
    schema = getattr(call, "_schema", None)
    if schema is None or torch.Tag.pointwise not in call.tags or schema.is_mutable:
        return False
    return [str(given.type) for given in schema.returns] == ["Tensor"]


def draws(call: Any) -> bool:
    """Whether an operation draws random numbers."""
    return torch.Tag.nondeterministic_seeded in getattr(call, "tags", ())


def name(target: Any) -> str:
    """What an operation is called here."""
    if target is operator.getitem:
        return "getitem"
    packet = getattr(target, "overloadpacket", None)
    return str(getattr(packet, "__name__", getattr(target, "__name__", target))).rstrip("_")


def plain(graph: fx.Graph) -> bool:
    """Whether nothing in it needs torch to decompose it, which takes longer than the trace."""
    calls = [node.target for node in graph.nodes if node.op == "call_function"]
    return all(name(call) in PLAIN or (name(call) not in KNOWN and tagged(call)) for call in calls)


def decomposed(graph: fx.Graph) -> dict[Any, Callable[..., Any]]:
    """What has no rule here and torch makes of operations that may have one, and how."""
    kept = KNOWN - AFTER_ANOTHER | UNROLLED
    calls = {node.target for node in graph.nodes if node.op == "call_function"}
    found = {call for call in calls if name(call) not in kept and not tagged(call)}
    table = torch.export.default_decompositions() if found else {}
    return {call: table[call] for call in found if call in table}
