"""A forward pass that runs a layer several times, such as a trunk that every task has an input of its own for, computes its effective weight once.

The values lie in the layers for the length of one pass. What tells one from another is all that decides them: the parameter, its
memory, how often it was written to, and the modes of torch; so a look without gradients leaves nothing behind that starves the pass of
them. What is written into that memory through ``.data`` within a pass nobody sees: it counts from the next pass on. Values alone are
shared, and no graph that keeps anything: each use can go backward by itself, be checkpointed, or be freed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

Compute = Callable[[Tensor], Tensor]
Again = Callable[[Tensor, Tensor], Tensor]
MARK, _OPEN = "_secateur_effects", "_secateur_effective_values"
_BEFORE, _AFTER, _ALWAYS = "_forward_pre_hooks", "_forward_hooks", "_forward_hooks_always_called"


def attached(model: nn.Module) -> Iterator[nn.Module]:
    """Its modules that have effects."""
    return (module for module in model.modules() if MARK in vars(type(module)))


def value_of(module: nn.Module, name: str, effect: Compute, again: Again | None) -> Tensor:
    """``effect`` of a module's parameter, computed at its first use in a forward pass that is watched, elsewhere at each.

    Args:
        module: Whose.
        name: Of the parameter.
        effect: What the module computes with.
        again: Gives a value that it gave before once more, so that graphs stay apart. Without it, it is computed at each use
            that gradients are taken of.
    """
    parameter: nn.Parameter = module.__dict__["_parameters"][name]
    values = module.__dict__.get(_OPEN)
    if values is None or parameter.is_meta or torch.compiler.is_compiling() or mapped():
        return effect(parameter)  # a compiler computes alike things once by itself
    grad, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
    key = name, grad, inference, torch.is_autocast_enabled(parameter.device.type)
    of, state, _, value = values.get(key, (None, None, None, None))
    address = parameter.data_ptr() if type(parameter) is nn.Parameter else 0
    now = address, 0 if parameter.is_inference() else parameter._version
    if of is not parameter or state != now:
        value = effect(parameter)
        values[key] = parameter, now, parameter.detach(), value  # nothing else comes to lie where it lies
    elif value.requires_grad:
        return effect(parameter) if again is None else again(parameter, value)
    return cast(Tensor, value)


def mapped() -> bool:
    """Whether ``torch.func`` is at work, within which alone its results live."""
    active = torch._C._are_functorch_transforms_active  # pyright: ignore[reportPrivateUsage]
    return not torch.compiler.is_compiling() and active()


def watch(model: nn.Module) -> None:
    """From now on the forward passes of ``model`` are watched, until :func:`unwatch`; twice is once."""
    if _begin not in model.__dict__[_BEFORE].values():
        model.register_forward_pre_hook(_begin)
        model.register_forward_hook(_end, always_call=True)


def unwatch(module: nn.Module) -> None:
    """Takes hooks and values off."""
    module.__dict__.pop(_OPEN, None)
    for kind, number in _ours(module):
        module.__dict__[kind].pop(number)


@contextmanager
def without(module: nn.Module) -> Generator[None]:
    """Meanwhile nothing of ours lies in its ``__dict__``, for copies; what is there is not touched, so that it may be copied later."""
    own = module.__dict__
    kept = {kind: own[kind] for kind, _ in _ours(module)} | ({_OPEN: own[_OPEN]} if _OPEN in own else {})
    ours = set(_ours(module))
    for kind, held in kept.items():
        own[kind] = OrderedDict((n, hook) for n, hook in held.items() if (kind, n) not in ours)
    own.pop(_OPEN, None)
    try:
        yield
    finally:
        own.update(kept)


def _ours(module: nn.Module) -> list[tuple[str, int]]:
    """Where our hooks are: the kind, and the number there."""
    own = module.__dict__
    found = [(_BEFORE, n) for n, hook in own.get(_BEFORE, {}).items() if hook is _begin]
    ends = [n for n, hook in own.get(_AFTER, {}).items() if hook is _end]
    return found + [(kind, n) for kind in (_AFTER, _ALWAYS) for n in ends if n in own[kind]]


def _begin(model: nn.Module, _: Any) -> None:
    for module in attached(model):
        module.__dict__[_OPEN] = {}


def _end(model: nn.Module, _: Any, __: Any) -> None:
    for module in attached(model):
        module.__dict__.pop(_OPEN, None)
