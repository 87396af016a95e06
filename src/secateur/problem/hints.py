"""What to do about an input that a model does not take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from secateur.problem.culprit import is_own, place_of


def hint_of(network: nn.Module, x: Any, error: BaseException) -> tuple[str, str] | None:
    """The remedy in Python, and on a command line; None where the user's code failed on an input that it takes."""
    text, reached = str(error), bool(place_of(error))  # a line of the user's
    if is_own(error):
        return None
    if reached and not isinstance(x, Tensor) and type(x).__name__ not in text:
        return None
    if hasattr(x, "__array__") and not isinstance(x, Tensor):
        made = "Make tensors of arrays: torch.as_tensor(x), in the data set"
        return f"{made} or in Problem(..., unpack=...).", f"{made}."
    if "Expected more than 1 value per channel" in text:
        said = "BatchNorm cannot train on a batch of one; drop the last batch (DataLoader(..., drop_last=True)) or make batches larger"
        return f"{said}.", f"{said} (--batch)."
    devices = {str(p.device) for p in network.parameters()}
    if len(devices) > 1 and "device" in text:
        said = f"Its parameters lie on {sorted(devices)}; move all of the model to one device."
        return said, said
    kind = next((p.dtype for p in network.parameters() if p.is_floating_point()), torch.float32)
    if (
        isinstance(x, Tensor)
        and x.dtype != kind
        and isinstance(error, RuntimeError)
        and any(word in text for word in ("type", "Byte", "Long", "Int"))
    ):
        scale = " / 255" if x.dtype == torch.uint8 else ""
        start, end = (
            f"Its weights are {str(kind).removeprefix('torch.')}; convert the input in",
            f"x.to({kind}){scale}.",
        )
        return f"{start} Problem(..., unpack=...), such as {end}", f"{start} the data set, such as {end}"
    if isinstance(x, Mapping):
        return (
            "A model that takes keywords is called so: Problem(..., call=lambda model, x: {task: model(**x).logits}).",
            "Where the model takes keywords, name a module of your own whose forward pass returns {task: model(**x).logits}.",
        )
    if isinstance(x, (tuple, list)):
        return (
            "Several tensors have names: let x be {'a': a, 'b': b}, and Problem(..., call=lambda model, x: model(**x)).",
            "Several tensors have names: let x be {'a': a, 'b': b}, and name a module of your own whose forward pass returns model(**x).",
        )
    if reached:
        return None
    return (
        "Give the loader's x the form that model(x) takes, or say how it is called: Problem(..., call=lambda model, x: ...).",
        "Give the loader's x the form that model(x) takes, or name a module of your own that calls it otherwise.",
    )
