"""Layers that could be pruned were their weights plain parameters; by what holds them, with the remedy."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd  # pyright: ignore[reportPrivateUsage]
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from secateur.problem.remedied import RemediedError

_KINDS = (_ConvNd, nn.Linear, nn.MultiheadAttention)
_NEVER = (nn.Embedding, nn.EmbeddingBag)  # by design, as biases and normalisations are
_MUCH = 0.02  # share of a model's parameters above which a weight of an unknown kind is worth a word
_UNKNOWN = "because layers of their kind are not pruned: {}; they stay dense, and the density is a share of the others."
_HOOKS = {
    "WeightNorm": "torch.nn.utils.remove_weight_norm(layer)",
    "SpectralNorm": "torch.nn.utils.remove_spectral_norm(layer)",
}


def left_out(model: nn.Module) -> list[str]:
    """Why layers are not pruned: a sentence for each reason, which names them and the remedy.

    Raises:
        ValueError: If the weights of a layer are not made yet.
    """
    found: dict[str, list[str]] = {}
    much = _MUCH * sum(p.numel() for p in model.parameters() if not is_lazy(p))
    for name, module in model.named_modules():
        if any(is_lazy(p) for p in module.parameters(recurse=False)):
            raise RemediedError(
                f"Layer {name!r} has no weights yet;",
                "call the model once, then make the Problem.",
                "call the model once before it is returned.",
            )
        if (reason := _reason(module) or (_UNKNOWN if _matrices(module) > much else None)) is not None:
            found.setdefault(reason, []).append(name or "the model")
    return [reason.format(sorted(names)) for reason, names in found.items()]


def _matrices(module: nn.Module) -> int:
    """Trainable elements of its own weights of two axes or more, where it is of no kind that is pruned: recurrent layers, a Conv1D."""
    if isinstance(module, (*_KINDS, *_NEVER)):
        return 0
    own = [p for p in module.parameters(recurse=False) if p.requires_grad and not is_lazy(p)]
    return sum(p.numel() for p in own if sum(size > 1 for size in p.shape) >= 2)


def _reason(module: Any) -> str | None:
    if isinstance(module, torch.jit.ScriptModule):
        kinds = ("Conv", "Linear", "MultiheadAttention")
        if not getattr(module, "original_name", "").startswith(kinds):
            return None
        return (
            "because they are scripted: {}; train the model as it was before torch.jit, and script it after."
        )
    if not isinstance(module, _KINDS):
        return None
    if any(parametrize.is_parametrized(module, name) for name in ("weight", "in_proj_weight")):
        return (
            "because they are under a parametrization: {}; take it off with "
            "torch.nn.utils.parametrize.remove_parametrizations(layer, 'weight')."
        )
    own = dict(module.named_parameters(recurse=False))
    if not any(p.requires_grad for p in own.values()):
        return None  # frozen, so it is not to be pruned
    if any(p.is_complex() for p in own.values()):
        return "because they are complex: {}; they are trained and stay dense, and the density is a share of the others."
    if isinstance(module, nn.MultiheadAttention):
        return (
            None
            if "in_proj_weight" in own
            else (
                "because their queries, keys and values have weights of their own: {}; nothing is to be done where that is meant."
            )
        )
    if "weight" in own:
        return None
    if "weight_orig" in own and "weight_mask" in dict(module.named_buffers(recurse=False)):
        return "because they are under torch.nn.utils.prune: {}; end it with torch.nn.utils.prune.remove(layer, 'weight')."
    hooks = [type(hook).__name__ for hook in vars(module)["_forward_pre_hooks"].values()]
    for hook, remedy in _HOOKS.items():
        if hook in hooks:
            return f"because they are under {hook}: {{}}; take it off with {remedy}."
    return "because their weight is no parameter: {}; make it one, layer.weight = nn.Parameter(...)."
