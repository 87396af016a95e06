"""Where torch multiplies, and with which weights."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from secateur.measures.origins import DATA, Origins, Parts, tensors
from secateur.measures.use import Convolution, Use

_PRODUCTS = {
    "aten::mm": 0, "aten::bmm": 0, "aten::mv": 0, "aten::dot": 0, "aten::vdot": 0, "aten::linear": 0,
    "aten::addmm": 1, "aten::baddbmm": 1, "aten::addbmm": 1, "aten::addmv": 1, "aten::_addmm_activation": 1,
    "aten::_sparse_mm": 0, "aten::_grouped_mm": 0, "aten::_scaled_mm": 0, "aten::_int_mm": 0,
}  # fmt: skip
"""Operations of two matrices or vectors: the place of the first among the arguments."""
_CONVOLUTIONS = {"aten::convolution", "aten::_convolution"}
_BY_PLACE = {"aten::_trilinear", "torchvision::deform_conv2d"}
"""Operations whose second argument, (outputs, ...), acts as a whole at each place of the output, (N, outputs, ...)."""
_QUANTIZED = {"aten::quantized_lstm", "aten::quantized_gru"}
_KNOWN = {"aten", "prim", "prims", "profiler"}
_JOINED = {"aten::cat", "aten::stack"}
_VECTORS = {"aten::mv", "aten::dot", "aten::vdot", "aten::addmv"}
_RECURRENT: set[Callable[..., Any]] = {
    torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu,
    torch.lstm_cell, torch.gru_cell, torch.rnn_tanh_cell, torch.rnn_relu_cell,
}  # fmt: skip


class Products(TorchDispatchMode):
    """Notes every product with a parameter, by the weights that either side is made of (:class:`Origins`).

    Args:
        model: Whose parameters.
    """

    supports_higher_order_operators = True

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.found: list[Use] = []
        self.origins = Origins(model)
        self.paused = 0
        self.unknown: dict[str, set[str]] = {}  # operation of another library: layers' weights
        self._within: list[list[str]] = []  # the weights of the layers that are being called
        self._given: list[set[str]] = []  # and those that what they are called with is made of
        self._names: dict[str, list[str]] = {}
        first: dict[int, str] = {}
        for name, parameter in model.named_parameters(remove_duplicate=False):
            self._names.setdefault(first.setdefault(id(parameter), name), []).append(name)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: else torch loads its compiler at the first pass, for a second, only to say that nothing of this is compiled."""
        return False

    def layer(self, after: ExitStack, name: str, module: nn.Module, attributes: list[str]) -> None:
        """Knows from now on when this one is called, and which weights a hook of the user's has made for it."""
        dot = f"{name}." if name else ""
        own = [dot + attribute for attribute in attributes]
        self.origins.layers.update(own)

        def made(attribute: str, value: Any) -> None:
            if isinstance(value, Tensor):
                self.origins.mark(value, {dot + attribute: value.numel()})

        def enter(_module: nn.Module, args: Any, named: Any) -> None:
            for attribute in attributes:
                held = parametrize.is_parametrized(
                    module, attribute
                )  # it may be computed already, and cached
                made(attribute, getattr(module, attribute) if held else vars(module).get(attribute))
            self._within.append(own)
            self._given.append(
                {part for one in tensors([*args, *named.values()]) for part in self.origins(one) or ()}
            )

        def leave(*_: Any) -> None:
            self._within.pop()
            self._given.pop()

        for attribute in attributes:
            made(attribute, vars(module).get(attribute))
        _hook(after, module, enter, leave)

    def computed(self, after: ExitStack, name: str, module: nn.Module) -> None:
        """Counts nothing while a parametrization computes the weight of this name."""

        def enter(*_: Any) -> None:
            self.paused += 1

        def leave(_module: nn.Module, _given: Any, found: Any) -> None:
            self.paused -= 1
            if isinstance(found, Tensor) and self.origins.name(found) is None:
                self.origins.mark(found, {name: found.numel()})

        _hook(after, module, enter, leave)

    def recurrent(self, given: list[Any], states: Any) -> None:
        """A recurrent layer multiplies each of its matrices with each vector of ``given[0]``, once a step."""
        steps = given[0].numel() // max(1, given[0].shape[-1])
        held = next((some for some in given[3:1:-1] if isinstance(some, (list, tuple))), given[2:4])
        for tensor in tensors(held):  # of a layer all in a list, after the lengths of sequences and the state
            parts = self.origins(tensor)
            if tensor.dim() == 2 and parts:
                self._note(parts, tensor.numel() * steps)
        self.origins.mark(states)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        if not isinstance(func, OpOverload):  # it calls functions: branches, the bodies of loops
            return func(*tree_map_only(FunctionType | nn.Module, self._seen, args), **named)
        if torch.is_inference_mode_enabled():
            with self:  # which hands out whole what is elsewhere taken apart before
                found = func.decompose(*args, **named)
            if found is not NotImplemented:
                return found
        found, name = func(*args, **named), func.name().partition(".")[0]
        data = False
        if (first := _PRODUCTS.get(name)) is not None:
            data = self._product(name, args[first], args[first + 1])
        elif name in _CONVOLUTIONS or name in _BY_PLACE:
            first, data = 0, self._convolution(name, args, found)
        if data:
            self.origins.mark(found)
        elif first is not None:
            self.origins.follow(list(args[first : first + 2]), found, product=True)
        else:
            given = tensors([*args, *named.values()])
            if name == "aten::embedding" and self.origins(given[1]) is not None:
                given = given[1:]  # rows of a table, as something else chooses them
            if func.namespace not in _KNOWN or name in _QUANTIZED:
                self._unknown(name, given, args)
            self.origins.follow(given, found, joined=name in _JOINED)
        return found

    def _unknown(self, name: str, given: list[Tensor], args: tuple[Any, ...]) -> None:
        names = {part for one in given if one.dim() > 1 for part in self.origins(one) or ()}
        names &= self.origins.layers
        flat = (one for value in args for one in (value if isinstance(value, list) else [value]))
        if any(isinstance(one, torch.ScriptObject) for one in flat):  # as layers of integers have them
            names.add("packed weights")
        if names:
            self.unknown.setdefault(name, set()).update(names)

    def _seen(self, body: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            with self:
                return body(*args, **kwargs)

        return run

    def _product(self, name: str, one: Tensor, other: Tensor) -> bool:
        """Counts it; returns whether the result is that of a layer."""
        first, parts = self.origins(one), self.origins(other)
        if self._made_of_weights(first, parts):
            return False
        if name in _VECTORS and not self._within and (first is None or parts is None):
            return False  # a weight with a constant: its norm
        if first and (not parts or (self.origins.name(one) and not self.origins.name(other))):
            parts = first  # a weight comes before what was made of one
        if not parts:
            return False
        columns = other.shape[0] if name == "aten::linear" else other.shape[-1] if other.dim() > 1 else 1
        return self._note(parts, one.numel() * columns)

    def _made_of_weights(self, one: Parts | None, other: Parts | None) -> bool:
        """Whether both are weights, neither of which the layer that is being called is given: no data enters what they make."""
        if not one or not other:
            return False
        given = self._given[-1] if self._given else set[str]()
        return one.keys() == other.keys() or not (given >= one.keys() or given >= other.keys())

    def _convolution(self, name: str, args: tuple[Any, ...], found: Tensor) -> bool:
        x, weight = args[:2]
        parts = self.origins(weight)
        if parts == DATA and self._within and len(self._within[-1]) == 1:
            parts = {self._within[-1][0]: 1}  # a layer that computes its kernel from what it is given
        if not parts or self._made_of_weights(self.origins(x), parts):
            return False
        if name in _BY_PLACE:
            return self._note(parts, weight.numel() * (found.numel() // weight.shape[0]))
        stride, padding, dilation, transposed, _, groups = args[3:9]
        shape = (x.shape[0], *x.shape[2:])
        places = torch.Size(shape if transposed else (x.shape[0], *found.shape[2:])).numel()
        how = Convolution(
            shape, tuple(weight.shape[2:]), tuple(stride), tuple(padding), tuple(dilation), groups, transposed
        )
        return self._note(parts, weight.numel() * places, how)

    def _note(self, parts: Parts, macs: int, how: Convolution | None = None) -> bool:
        """Notes a product; returns whether it is that of the layer that is being called, with its own weight."""
        within, whole = self._within[-1] if self._within else [], sum(parts.values())
        left, layer = macs, False
        for place, (first, elements) in enumerate(parts.items()):
            names = self._names.get(first, [first])
            own = [name for name in names if name in within]
            share = left if place == len(parts) - 1 else macs * elements // whole
            left, layer = left - share, layer or bool(own)
            if not self.paused:
                self.found.append(Use(own[0] if own else names[0], share, bool(own), how))
        return layer


class Recurrent(TorchFunctionMode):
    """Notes recurrent layers as a whole: what they do step by step is not the same on every device."""

    def __init__(self, watch: Products) -> None:
        super().__init__()
        self.watch = watch

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in _RECURRENT:
            return func(*args, **(kwargs or {}))
        self.watch.paused += 1
        try:
            found = func(*args, **(kwargs or {}))
        finally:
            self.watch.paused -= 1
        if not self.watch.paused:
            self.watch.recurrent([*args, *(kwargs or {}).values()], found)
        return found


def _hook(after: ExitStack, module: nn.Module, enter: Any, leave: Any) -> None:
    """Calls both around each call of ``module``, closer to it than any hook of the user's."""
    after.callback(module.register_forward_pre_hook(enter, with_kwargs=True).remove)
    after.callback(module.register_forward_hook(leave, prepend=True, always_call=True).remove)
