"""Which nodes of an ONNX file stay in float: a head, or layers that are named."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from secateur.deployment.engines import need
from secateur.deployment.export.network import Network


def check_keep(made: Network, keep: Sequence[str]) -> None:
    """Raises ValueError unless each of ``keep`` is a task or a module of the network; the nearest is named."""
    if isinstance(keep, str):
        raise ValueError(f"export: keep_float is {keep!r}; give a list of tasks or modules, [{keep!r}].")
    modules = _modules(made)
    for name in keep:
        if name in made.tasks or name in modules:
            continue
        near = difflib.get_close_matches(str(name), [*made.tasks, *modules], 1)
        meant = f" Did you mean {near[0]!r}?" if near else " Modules are named as their weights are."
        raise ValueError(
            f"export: keep_float names {name!r}, which is no task and no module of the network; its tasks are "
            f"{', '.join(made.tasks)}.{meant}"
        )


def kept_nodes(path: Path, made: Network, keep: Sequence[str]) -> list[str]:
    """Names of the nodes that stay in float.

    Of a task those that its prediction alone depends on, found by walking from the predictions to the inputs; of a module those
    that read a weight of it.

    Args:
        path: Dense ONNX, in float.
        made: What it was made of.
        keep: Tasks and modules.

    Raises:
        ValueError: If one of them has no node.
    """
    if not keep:
        return []
    (onnx,) = need("onnx", "onnx")
    graph = onnx.load(path, load_external_data=False).graph
    reached, modules = _reached(graph), _modules(made)
    found: list[str] = []
    for name in keep:
        if name in made.tasks:
            own = [node.name for node in graph.node if reached[node.name] == {name}]
        else:
            own = _reading(graph, f"model.{name}.", modules[name])
        if not own:
            raise ValueError(
                f"export: keep_float names {name!r}, of which no layer in the file is its own; name the modules that it shares, or leave "
                "it out."
            )
        found += own
    return list(dict.fromkeys(found))


def _modules(made: Network) -> dict[str, nn.Module]:
    """The modules of the user's network by their names there."""
    return {
        name.removeprefix("model."): module
        for name, module in made.module.named_modules()
        if name.startswith("model.")
    }


def _reached(graph: Any) -> Mapping[str, set[str]]:
    """Name of a node to the predictions that depend on it."""
    of: dict[str, set[str]] = {out.name: {out.name} for out in graph.output}
    reached: dict[str, set[str]] = {}
    for node in reversed(graph.node):  # they stand in the order of computation
        mine = set[str]().union(*(of.get(value, set()) for value in node.output))
        reached[node.name] = mine
        for value in node.input:
            of[value] = of.get(value, set()) | mine
    return reached


def _reading(graph: Any, prefix: str, module: nn.Module) -> list[str]:
    """Nodes that read a weight of ``module``: by its name, or where the exporter has turned it, by its values."""
    (helper,) = need("onnx", "onnx.numpy_helper")
    sizes = {p.numel() for p in module.parameters()}
    turned = [p.detach().T.numpy() for p in module.parameters() if p.dim() == 2]
    named = {one.name for one in graph.initializer if one.name.startswith(prefix)}
    for one in graph.initializer:
        if one.name.startswith("model.") or len(one.dims) != 2 or one.dims[0] * one.dims[1] not in sizes:
            continue
        held = helper.to_array(one)
        if any(held.shape == value.shape and (held == value).all() for value in turned):
            named.add(one.name)
    return [node.name for node in graph.node if named & set(node.input)]
