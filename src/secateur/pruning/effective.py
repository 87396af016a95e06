"""Effective weights: a layer computes with a function of its parameter, while the parameter stays where it is.

Names, order and identity of all parameters are the plain module's at every moment, so that averages (EMA), checkpoints and
optimizers of any loop see what they would see without pruning; a copy or a pickle of the module is plain.
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from secateur.pruning.once import MARK, Again, attached, unwatch, value_of, watch, without

Effect = Callable[[Tensor], Tensor]
"""A weight, any shape, to what the layer computes with, of the same shape.

Where it has a method ``again(weight, known)``, which gives a value that it gave before once more, in a graph of its own, a forward pass that
uses the layer several times computes it once (:func:`compute_once`).
"""


_Readers = dict[str, Callable[[nn.Module], Tensor]]


def attach(model: nn.Module, effects: Mapping[str, Effect]) -> None:
    """From now on each layer's attribute is ``effect(parameter)``.

    Args:
        model: Its parameters, ``state_dict`` and their order stay as they are.
        effects: Parameter name to its effect.
    """
    of, writes = dict[nn.Module, _Readers](), _Writes()
    for name, effect in effects.items():
        prefix, _, attribute = name.rpartition(".")
        reader = _reader(attribute, writes.watched(name, effect), getattr(effect, "again", None))
        of.setdefault(model.get_submodule(prefix), {})[attribute] = reader
    for module, own in of.items():
        before = vars(type(module)).get(MARK)
        plain = type(module) if before is None else _plain_class(module)
        module.__class__ = _effective_class(plain, (before or {}) | own)


def compute_once(model: nn.Module) -> None:
    """From now on a forward pass of ``model`` computes each effective weight at its first use alone, until :func:`detach`.

    Its copies are plain all the same; nothing where it has no effects, or its class lets none derive from it, which this would need.
    """
    if not is_effective(model):
        return
    if MARK not in vars(type(model)):
        try:
            model.__class__ = _effective_class(type(model), {})
        except (ValueError, TypeError):  # nothing but time is lost
            return
    watch(model)


def detach(model: nn.Module) -> None:
    """Every layer computes with its plain parameter again; what is plain already stays as it is."""
    for module in attached(model):
        unwatch(module)
        module.__class__ = _plain_class(module)


def is_effective(model: nn.Module) -> bool:
    """Whether any layer computes with something else than its parameter."""
    return any(True for _ in attached(model))


def check_plain(model: nn.Module, asker: str) -> None:
    """Raises ValueError if a layer computes with something else than its parameter.

    Args:
        model: What is to be saved, shrunk or exported.
        asker: Who needs it plain, for the message.
    """
    wrapped = [name for name, _ in model.named_parameters() if ".parametrizations." in f".{name}"]
    if wrapped:
        raise ValueError(
            f"{asker}: {wrapped[0]} is under a parametrization; take it off first, "
            "with torch.nn.utils.parametrize.remove_parametrizations."
        )
    check_done(model, asker)


def check_done(model: nn.Module, asker: str) -> None:
    """Raises ValueError if a method is still at work on the model; a copy of it would not tell."""
    pruned = next((name for name, m in model.named_modules() if MARK in vars(type(m))), None)
    if pruned is not None:
        raise ValueError(
            f"{asker}: {pruned or 'the model'} is being pruned, and its zeros are not in its weights yet; let the method finish "
            "first (fit returns, or the block of Pruning is left)."
        )


class _Writes:
    """Weights that were handed out, and written to in place where that is meant for the parameter; said once, at the next use of any.

    Reading is what they are for, so what tells is the tensor's own count of writes, looked at when it is let go of.
    """

    def __init__(self) -> None:
        self._written, self._said = "", False

    def watched(self, name: str, effect: Effect) -> Effect:
        """``effect``, whose result is watched where no gradient is taken: elsewhere torch lets nobody write to a parameter."""

        def found(parameter: Tensor) -> Tensor:
            value = effect(parameter)
            if torch.compiler.is_compiling():
                return value
            if self._written and not self._said:
                self._say()
            mine = not (value is parameter or value._is_view() or value.is_inference())
            if mine and not self._said and not torch.is_grad_enabled():
                note = partial(self._look, name, value.detach(), value._version)
                weakref.finalize(value, note).atexit = False
            return value

        return found

    def _look(self, name: str, alias: Tensor, version: int) -> None:
        if alias._version != version:
            self._written = self._written or name

    def _say(self) -> None:
        self._said = True
        layer, _, attribute = self._written.rpartition(".")
        warnings.warn(
            f"{self._written} was written to in place, which is lost: under thresholds it is what {layer or 'the model'} computes with, made "
            f"anew at each use. Write to get_parameter({attribute!r}) of the layer, or through model.named_parameters().",
            stacklevel=5,
        )


def _plain_class(module: nn.Module) -> type[nn.Module]:
    return type(module).__mro__[1]


def _effective_class(plain: type[nn.Module], readers: _Readers) -> type[nn.Module]:
    """A class of one module: ``plain`` with effects, whose copies and pickles are ``plain``."""

    @contextmanager
    def as_plain(self: nn.Module) -> Generator[None]:
        own = type(self)
        with without(self):
            self.__class__ = plain
            try:
                yield
            finally:
                self.__class__ = own

    def reduced(self: nn.Module, protocol: Any) -> Any:
        with as_plain(self):
            return _said_plainly(self, self.__reduce_ex__(protocol))

    def copied(self: nn.Module, memo: Any) -> Any:
        with as_plain(self):
            return cast(Any, self).__deepcopy__(memo)

    def get_parameter(self: nn.Module, target: str) -> Any:
        return (
            self.__dict__["_parameters"][target] if target in readers else plain.get_parameter(self, target)
        )

    properties: dict[str, Any] = {name: property(reader) for name, reader in readers.items()}
    body = {MARK: readers, "__reduce_ex__": reduced, "__module__": plain.__module__, **properties}
    body["get_parameter"] = get_parameter  # torch's own reads the attribute, which is no parameter here
    if hasattr(plain, "__deepcopy__"):
        body["__deepcopy__"] = copied
    try:
        made = cast(type[nn.Module], type(plain.__name__, (plain,), body))
    except Exception as error:  # the user's own __init_subclass__ or metaclass
        raise ValueError(
            f"{plain.__qualname__} lets no class derive from it ({type(error).__name__}: {error}), which thresholds need; choose a "
            "method with masks, such as GradualMagnitude."
        ) from error
    made.__qualname__ = plain.__qualname__
    return made


def _said_plainly(module: nn.Module, made: Any) -> Any:
    """What ``__reduce_ex__`` of its plain class made, so that pickle takes it for an object of another class, and any Python reads it."""
    if isinstance(made, str):
        return made
    function, arguments, *rest = made
    own = module.__dict__
    if rest and rest[0] is own:
        rest[0] = dict(own)  # as it is now
    elif rest and isinstance(rest[0], tuple):
        rest[0] = tuple(dict(own) if part is own else part for part in cast("tuple[Any, ...]", rest[0]))
    kind = getattr(function, "__name__", "")
    if kind == "__newobj__":  # which pickle lets make an object's own class alone
        function = arguments[0].__new__
    elif kind == "__newobj_ex__":
        function, arguments = partial(arguments[0].__new__, arguments[0], *arguments[1], **arguments[2]), ()
    return (function, arguments, *rest)


def _reader(name: str, effect: Effect, again: Again | None) -> Callable[[nn.Module], Tensor]:
    return lambda self: value_of(self, name, effect, again)
