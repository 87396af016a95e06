"""Every product with a weight in a forward pass, whoever calls it."""

from __future__ import annotations

import sys
import warnings
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd  # pyright: ignore[reportPrivateUsage]
from torch.nn.utils import parametrize

from secateur.measures.products import Products, Recurrent
from secateur.measures.use import Use
from secateur.problem import Input, looking, to_device


@torch.no_grad()
def weight_uses(model: nn.Module, x: Input) -> list[Use]:
    """Every product with a parameter in a forward pass of ``x``, in its order; in eval mode, the model is left as it was.

    Products and convolutions are seen where torch computes them, so it does not matter who calls them, nor what a layer takes and
    returns. A weight is followed through views, casts, masks and norms. What a parametrization computes is no work
    of the network, and neither are products of two results, such as queries and keys, or of parameters alone. Where an operation of
    another library takes a weight of a layer, or weights that are packed away, nobody knows what it multiplies: that is a warning.

    Args:
        model: Its parameters are looked for.
        x: What it takes; moved to its device.
    """
    watch = Products(model)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    with ExitStack() as after:
        for name, module in _modules(model):
            if found := _attributes(module):
                watch.layer(after, name, module, found)
            if isinstance(module, parametrize.ParametrizationList):
                watch.computed(after, name.replace("parametrizations.", ""), module)
        given = to_device(x, device)
        watch.origins.mark(given)
        if "torch._dynamo" in sys.modules:  # compiled parts run as they were written
            after.enter_context(torch.compiler.set_stance("force_eager"))
        with looking(model), Recurrent(watch), watch:
            model.eval()(given)
    for operation, names in watch.unknown.items():
        warnings.warn(
            f"{operation} takes {sorted(names)}, and what it multiplies is not known: it counts as no multiply-accumulates.",
            stacklevel=2,
        )
    return watch.found


def layer_weights(model: nn.Module) -> list[str]:
    """Names of the weights of all convolutions, linear, attention and recurrent layers, called or not."""
    return [f"{n}.{a}" if n else a for n, module in _modules(model) for a in _attributes(module)]


def _modules(model: nn.Module) -> list[tuple[str, nn.Module]]:
    return list(model.named_modules())  # pyright: ignore[reportUnknownArgumentType]


def _attributes(module: Any) -> list[str]:
    """Those of ``module`` itself that hold its weights."""
    if isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
        return [name for name, _ in module.named_parameters(recurse=False) if name.startswith("weight")]
    if isinstance(module, nn.MultiheadAttention):
        if module.in_proj_weight is None:  # pyright: ignore[reportUnnecessaryComparison]
            return ["q_proj_weight", "k_proj_weight", "v_proj_weight"]
        return ["in_proj_weight"]
    return ["weight"] if isinstance(module, (_ConvNd, nn.Linear)) else []
