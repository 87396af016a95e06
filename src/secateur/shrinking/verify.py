"""Whether a smaller network computes the same as the one that it was made of."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from secateur.problem import Input, preserved_rng
from secateur.shrinking.copying import evaluating, widened
from secateur.shrinking.resized import resized

_TIGHT = 1e-5  # of the tolerance: in float64, before anything is rounded, what differs more is wrong
_FLOOR = 1e-12  # roundings of float64, of the largest value
_ROUNDINGS = 16  # of a type less exact than float32


class Reference:
    """What the original gives, and whether another network gives the same.

    It runs in float64, whatever types the user's code asks for on the way, on the example and on another input. What
    is compared is how far outputs differ, of how far they change from one input to the other: neither a large offset
    nor a branch scaled by 1e-6 hides an error. A network that does not run so runs in its own types, with the
    tolerance of the least exact of them.

    Args:
        model: The original.
        example: What it takes.
        tolerance: Of the largest difference of an output, relative to its largest value.
    """

    def __init__(self, model: nn.Module, example: Input, tolerance: float) -> None:
        self.model, self.tolerance = model, tolerance
        self.inputs = [example, _another(example)]
        self.wide = True
        try:
            first = self.outputs(model, example)
        except Exception:  # whatever the user's code raises in float64
            self.wide = False
            first = self.outputs(model, example)
        try:
            self.expected = [first, self.outputs(model, self.inputs[1])]
        except Exception:  # not every network takes every input
            self.expected = [first]

    def outputs(self, model: nn.Module, x: Input) -> dict[str, Tensor]:
        """Outputs by name, float64, of a copy."""
        with self.running(model, x) as (_, run):
            return run()

    @contextmanager
    def running(
        self, model: nn.Module, x: Input, *, training: bool = False
    ) -> Generator[tuple[nn.Module, Callable[[], dict[str, Tensor]]]]:
        """A copy made ready, so that hooks and modes can be put on it and around the call that is given."""
        other = evaluating(model, training=training)
        if self.wide:
            widened(other)
            other, x = other.cpu(), _double(x)
        with torch.no_grad(), preserved_rng(), torch.compiler.set_stance("force_eager"):
            mode = _Wide() if self.wide else _AsIs()
            with mode:
                yield other, lambda: named_outputs(other(x))

    def difference(self, small: nn.Module, rounded: bool) -> str | None:
        """What differs, in words; None if nothing does.

        Args:
            small: The other network, in float64 where the reference is.
            rounded: Whether its parameters were rounded to their own types since.
        """
        found = [self.outputs(small, x) for x, _ in zip(self.inputs, self.expected, strict=False)]
        for name in self.expected[0]:
            values = [outputs[name] for outputs in self.expected]
            others = [outputs.get(name) for outputs in found]
            if any(o is None or o.shape != v.shape for v, o in zip(values, others, strict=True)):
                return f"the shape of {name} differs"
            reason = self.compared(name, values, cast(list[Tensor], others), rounded)
            if reason is not None:
                return reason
        return None

    def wrong(self, small: nn.Module) -> str | None:
        """As :meth:`difference`, before anything is rounded, or the kind of error that ``small`` raises."""
        try:
            return self.difference(small, rounded=False)
        except Exception as error:  # whatever the user's code raises
            return type(error).__name__

    @cached_property
    def _elsewhere(self) -> tuple[Input, dict[str, Tensor]] | None:
        """An input of other sizes, and what the original gives; None where it takes no other."""
        for x in resized(
            self.inputs[0], larger=self.wide
        ):  # on a GPU an index too large ends more than the call
            try:
                return x, self.outputs(self.model, x)
            except Exception:  # not every network takes every size
                continue
        return None

    def elsewhere(self, small: nn.Module) -> str | None:
        """As :meth:`difference`, before anything is rounded, at another size and number of samples, where the network takes one."""
        if self._elsewhere is None:
            return None
        x, expected = self._elsewhere
        try:
            found = self.outputs(small, x)
        except Exception as error:  # whatever the user's code raises
            return f"{type(error).__name__}: {error}".splitlines()[0]
        for name, value in expected.items():
            if (other := found.get(name)) is None or other.shape != value.shape:
                return f"the shape of {name} differs"
            if (reason := self.compared(name, [value], [other], rounded=False)) is not None:
                return reason
        return None

    def compared(self, name: str, values: list[Tensor], others: list[Tensor], rounded: bool) -> str | None:
        """What differs between the values of one output, on each input, and those of another network."""
        if not values[0].numel():
            return None
        scale = max(float(_finite(v).abs().max()) for v in values)
        change = float(_finite(values[0] - values[-1]).abs().max()) if len(values) > 1 else 0.0
        exact = self.wide and not rounded
        allowed = (
            self.tolerance * _TIGHT * (change or scale) + _FLOOR * scale
            if exact
            else self._rounding() * scale + 1e-12
        )
        for value, other in zip(values, others, strict=True):
            same = (value == other) | (value.isnan() & other.isnan())  # infinities, of masked scores
            difference = torch.where(same, 0.0, (value - other).abs())
            if not bool((difference <= allowed).all()):
                worst = float(difference.nan_to_num(torch.inf).max())
                return f"{name} differs by {worst:.2g}; its largest value is {scale:.2g}, it changes by {change:.2g}"
        return None

    def _rounding(self) -> float:
        kinds = {p.dtype for p in self.model.parameters() if p.is_floating_point()}
        least = max((torch.finfo(kind).eps for kind in kinds), default=0.0)
        return max(self.tolerance, _ROUNDINGS * least)


def named_outputs(found: Any) -> dict[str, Tensor]:
    """Tensors in what a network returns, by the path to each, in order."""
    made: dict[str, Tensor] = {}
    for path, tensor in _leaves(found, ""):
        while path in made:  # such as of the keys 1 and "1"
            path = f"{path}'"
        made[path] = tensor.detach().double()
    return made


def _leaves(found: Any, path: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(found, Tensor):
        yield path or "output", found
    elif isinstance(found, Mapping):
        for key, value in cast(Mapping[Any, Any], found).items():
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    elif isinstance(found, (tuple, list)) or not pytree.tree_is_leaf(found):
        parts: Any = found if isinstance(found, (tuple, list)) else pytree.tree_leaves(found)
        for i, value in enumerate(cast(list[Any], parts)):
            yield from _leaves(value, f"{path or 'output'}[{i}]")


class _AsIs(TorchFunctionMode):
    """Changes nothing."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


class _Wide(TorchFunctionMode):
    """Where the user's code asks for a floating type, float64 is meant."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.float, Tensor.half, Tensor.bfloat16):
            return args[0].double()
        args, kwargs = pytree.tree_map(_widened, (args, kwargs or {}))
        return pytree.tree_map(_widened, func(*args, **kwargs))


def _widened(value: Any) -> Any:
    if isinstance(value, torch.dtype):
        return torch.float64 if value.is_floating_point else value
    if isinstance(value, Tensor) and value.is_floating_point() and value.dtype != torch.float64:
        return value.double()
    return value


def _double(x: Any) -> Any:
    if isinstance(x, Tensor):
        x = x.detach().cpu()
        return x.double() if x.is_floating_point() else x
    return pytree.tree_map_only(Tensor, _double, x)


def _another(x: Any) -> Any:
    """An input of the same kind: floating ones with noise of their own spread, others in another order."""
    draw = torch.Generator().manual_seed(0)
    if not isinstance(x, Tensor):
        return pytree.tree_map_only(Tensor, _another, x)
    if x.is_floating_point():
        spread = float(x.detach().double().std()) if x.numel() > 1 else 0.0
        noise = torch.randn(x.shape, generator=draw) * (spread or 1.0)
        return x.detach() + noise.to(x)
    order = torch.randperm(x.numel(), generator=draw)
    return x.flatten()[order.to(x.device)].view(x.shape)


def _finite(x: Tensor) -> Tensor:
    return x.nan_to_num(0.0, 0.0, 0.0)
