"""How wide each layer of a network is, and what it does: rows for a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from secateur.measures.cost import count_macs
from secateur.problem import Call, Input, called
from secateur.pruning import weight


def layer_rows(
    model: nn.Module, x: Input, components: Mapping[str, tuple[str, ...]], call: Call | None = None
) -> list[dict[str, Any]]:
    """Every convolution, linear and attention layer, in the order of the network's modules; the model is left as it was.

    Args:
        model: Whose.
        x: Of the forward pass that multiply-accumulates are counted on.
        components: Component to the names of its weights; a weight of none is left out.
        call: As in a :class:`secateur.Problem`.

    Returns:
        ``weight`` (its name), ``component``, ``inputs`` and ``outputs`` (channels, of all groups) and ``macs`` of each.
    """
    owner = {name: component for component, names in components.items() for name in names}
    modules = dict(model.named_modules())
    found: list[dict[str, Any]] = []
    for name, macs in count_macs(called(model, call), x).items():
        if name not in owner:  # recurrent layers, whose rows are no channels
            continue
        value = weight(model, name)
        module = modules.get(name.rpartition(".")[0])
        outputs, inputs = value.shape[0], value.shape[1]
        if getattr(module, "transposed", False):
            outputs, inputs = inputs, outputs
            outputs *= getattr(module, "groups", 1)
        else:
            inputs *= getattr(module, "groups", 1)
        row = {"weight": name, "component": owner[name], "inputs": inputs, "outputs": outputs, "macs": macs}
        found.append(row)
    return found
