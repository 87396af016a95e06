"""Whether two networks compute the same, and if not, where they part."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from secateur.problem import Input, preserved_rng

Failure = tuple[str, str, Exception | None]


def check_same(model: nn.Module, small: nn.Module, example: Input, tolerance: float) -> Failure | None:
    """None if both give the same in float64, else the layer where they part, what is wrong, and the error it raised.

    Args:
        model: The one.
        small: The other.
        example: What they take.
        tolerance: Of the largest difference of an output, relative to its largest value.
    """
    with torch.no_grad(), preserved_rng():
        x = _double(example)
        expected = _outputs(copy.deepcopy(model).double().eval()(x))
        other = copy.deepcopy(small).double().eval()
        running: list[str] = []
        names = {module: name for name, module in other.named_modules()}

        def enter(module: nn.Module, _: Any) -> None:
            running.append(names[module])

        def leave(*_: Any) -> None:
            running.pop()

        for module in names:
            module.register_forward_pre_hook(enter)
            module.register_forward_hook(leave)
        try:
            found = _outputs(other(x))
        except Exception as error:  # whatever the user's code raises
            return running[-1], f"{type(error).__name__}: {error}".splitlines()[0], error
    for name, value in expected.items():
        if name not in found or found[name].shape != value.shape:
            return name, "the shape of the output differs", None
        difference = float((found[name] - value).abs().max()) if value.numel() else 0.0
        scale = float(value.abs().max()) if value.numel() else 0.0
        if not difference <= tolerance * scale + 1e-12:
            return name, f"output differs by {difference:.2g}, its largest value is {scale:.2g}", None
    return None


def _double(x: Any) -> Any:
    if isinstance(x, Tensor):
        return x.detach().cpu().double() if x.is_floating_point() else x
    return {key: _double(value) for key, value in x.items()}


def _outputs(found: Any, name: str = "output") -> dict[str, Tensor]:
    if isinstance(found, Tensor):
        return {name: found.detach().double()}
    if isinstance(found, Mapping):
        return {k: v for key, value in found.items() for k, v in _outputs(value, str(key)).items()}
    if isinstance(found, (tuple, list)):
        return {k: v for i, value in enumerate(found) for k, v in _outputs(value, f"{name}[{i}]").items()}
    return {}
