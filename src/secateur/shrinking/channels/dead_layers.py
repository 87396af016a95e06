"""Layers that give nothing but constants, and what stands in their place."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase  # pyright: ignore[reportPrivateUsage]
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd  # pyright: ignore[reportPrivateUsage]

from secateur.shrinking.channels import operations as ops
from secateur.shrinking.channels.channels import Channels
from secateur.shrinking.channels.compressed import jointly, rows
from secateur.shrinking.channels.layers import layers
from secateur.shrinking.channels.needs import Needs
from secateur.shrinking.channels.node import Node
from secateur.shrinking.channels.values import Values
from secateur.shrinking.constant import Constant, replace
from secateur.shrinking.cutting import tell_norm


def constant_layers(
    model: nn.Module, nodes: list[Node], values: Values, needs: Needs, read: Collection[str] = ()
) -> dict[str, Tensor | None]:
    """Modules that need not compute: path to the constant that they give; None stands for passing on.

    Args:
        model: Whose modules they are.
        nodes: Its trace.
        values: The constants in it.
        needs: What the outputs depend on.
        read: Paths of modules of which other code reads more than they compute; they stay.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    users: dict[Node, list[Node]] = {node: [] for node in nodes}
    calls: dict[str, int] = {}
    for node in nodes:
        for one in node.inputs:
            users[one].append(node)
    for _, layer in layers(nodes):
        calls[layer.weight.target] = calls.get(layer.weight.target, 0) + 1
    found: dict[str, Tensor | None] = {}
    for node, layer in layers(nodes):
        path = layer.weight.target.rpartition(".")[0]
        module = modules.get(path)
        if not isinstance(module, (_ConvNd, nn.Linear)) or isinstance(module, _ConvTransposeNd):
            continue
        if path in read or not _as_torch(module) or calls[layer.weight.target] > 1 or node.owner != path:
            continue  # used several times, or by other means than torch's call of the module
        if isinstance(module, _ConvNd) and isinstance(module.padding, str):
            continue
        value = _constant(node, layer.channel, values, needs)
        if value is None or len(users[layer.weight]) > 1:
            continue
        norm = users[node][0] if len(users[node]) == 1 else None
        behind = None if norm is None or norm.op not in ops.BATCH_NORMS else modules.get(norm.owner)
        if (
            norm is not None
            and isinstance(behind, _BatchNorm)
            and norm.owner not in read
            and _as_torch(behind)
        ):
            after = _constant(norm, layer.channel, values, needs, part=0)
            if after is not None:
                found[norm.owner], value = None, after
        found[path] = value
    return found


def _as_torch(module: nn.Module) -> bool:
    """Whether a call of the module is torch's own forward pass and nothing else, such as a hook that changes what it gives."""
    hooks = {**module._forward_hooks, **module._forward_pre_hooks}  # pyright: ignore[reportPrivateUsage]
    own = type(module).forward.__module__.startswith("torch.nn.modules.")
    return own and not hooks and "forward" not in vars(module)


def _constant(node: Node, axis: int, values: Values, needs: Needs, part: int | None = None) -> Tensor | None:
    """The value of each channel that ``node`` gives, if no output depends on anything else of it."""
    value, need = values[node], needs.of.get(node)
    if isinstance(value, list):
        value, need = value[part or 0], None if need is None else need[part or 0]
    if need is not None:
        a, b = jointly([value, need], value.shape)
        if bool((a.isnan() & b).any()):
            return None
    return rows(value, axis)[:, 0].nan_to_num(0.0).clone()


def put_constant(model: nn.Module, path: str, value: Tensor | None) -> None:
    """Replaces the module at ``path`` by a constant, or by nothing."""
    if value is None:
        return replace(model, path, nn.Identity())
    old: Any = model.get_submodule(path)
    sizes: Any = (old.kernel_size, old.stride, old.padding, old.dilation) if isinstance(old, _ConvNd) else ()
    new = Constant(value.numel(), [list(axis) for axis in zip(*sizes, strict=True)])
    new.value.data = value.to(old.weight)
    return replace(model, path, new)


def settings_of(module: Any) -> dict[str, Any]:
    """What :func:`put_constant` put there, as plain values."""
    if isinstance(module, nn.Identity):
        return {}
    return {"channels": module.value.numel(), "kernel": [list(axis) for axis in module.kernel]}


def group_counts(model: nn.Module, channels: Channels, keep: Tensor) -> dict[str, tuple[int, int]]:
    """Tells every normalisation without weights, which nothing else tells, its groups and channels; path to both."""
    modules = dict(model.named_modules())
    found: dict[str, tuple[int, int]] = {}
    for node in channels.nodes:
        module: Any = modules.get(node.owner)
        groups = isinstance(module, nn.GroupNorm) and node.op == "group_norm"
        if not groups and not (isinstance(module, _NormBase) and node.op in ops.BATCH_NORMS):
            continue
        if any(True for _ in (*module.parameters(), *module.buffers())):
            continue
        labels = rows(channels.labels[node.name][0], 1)[:, 0]
        left = int(((labels < 0) | keep[labels.clamp(min=0)]).sum())
        if left != labels.numel():
            count = node.args[1] if groups else labels.numel()
            found[node.owner] = (count * left // labels.numel(), left)
            tell_norm(module, *found[node.owner])
    return found
