"""What a weight does: attention, feed-forward or convolution; read off one forward pass, not off names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from secateur.problem.problem import Input
from secateur.problem.state import looking

Kind = Literal["attention", "feed_forward", "convolution"]
_WHOLE = {"scaled_dot_product_attention"}
_SCORES = {"softmax"}
_PRODUCTS = {"matmul", "__matmul__", "bmm", "baddbmm", "einsum"}


def kinds(model: nn.Module, x: Input, weights: Mapping[str, Tensor]) -> dict[str, Kind]:
    """The kind of each weight.

    ``attention``: a layer whose output goes into attention as queries, keys or values, or that reads what attention
    gives; attention is ``scaled_dot_product_attention``, ``nn.MultiheadAttention``, or a softmax whose result is
    multiplied with something. Of the rest, ``convolution`` is what has a kernel, and ``feed_forward`` the linear layers.

    Args:
        model: Run once in eval mode; left as it was.
        x: What it takes.
        weights: Of its layers, by name.
    """
    watch = _Watch({id(weight): name for name, weight in weights.items()})
    with looking(model), torch.no_grad(), watch:
        model.eval()
        model(x)
    return {
        name: "attention" if name in watch.found else "feed_forward" if weight.dim() == 2 else "convolution"
        for name, weight in weights.items()
    }


@dataclass(frozen=True)
class _Origin:
    """Where a tensor comes from: the layers that it came out of last, and how far it is through attention."""

    layers: frozenset[str] = frozenset()
    stage: Literal["before", "scores", "attended"] = "before"


class _Watch(TorchFunctionMode):
    """Follows every tensor of a forward pass back to the layers that gave it."""

    def __init__(self, names: Mapping[int, str]) -> None:
        super().__init__()
        self.names, self.found = names, set[str]()
        self._origins: Any = WeakTensorKeyDictionary()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result: Any = func(*args, **(kwargs or {}))
        given = list(_tensors((args, kwargs or {})))
        origin = self._origin(getattr(func, "__name__", ""), given)
        if origin is not None:
            for tensor in _tensors(result):
                self._origins[tensor] = origin
        return result

    def _origin(self, name: str, given: list[Tensor]) -> _Origin | None:
        layers = frozenset(self.names[id(t)] for t in given if id(t) in self.names)
        origins: list[_Origin] = [self._origins[t] for t in given if t in self._origins]
        attended = any(origin.stage == "attended" for origin in origins)
        if layers:
            if attended or len(layers) > 1:  # several at once: nn.MultiheadAttention, as a function
                self.found |= layers
            return _Origin(layers)
        if not origins or name.startswith("new_") or name.endswith("_like"):  # these take the shape alone
            return None
        before = frozenset[str]().union(*(origin.layers for origin in origins))
        multiplied = name in _PRODUCTS and any(origin.stage == "scores" for origin in origins)
        if name in _WHOLE or multiplied:
            self.found |= before
            return _Origin(before, "attended")
        if name in _SCORES:
            return _Origin(before, "scores")
        return origins[0] if len(origins) == 1 else _Origin(before)  # a sum with a residual is no longer it


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in cast(Mapping[Any, Any], value).values():
            yield from _tensors(item)
    elif isinstance(value, (tuple, list)):
        for item in cast(list[Any], value):
            yield from _tensors(item)
