"""Every annotated argument of what the rooms hand out."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator, Sequence
from typing import Any, get_type_hints


def public_arguments(rooms: Sequence[str]) -> Iterator[tuple[str, Any, str, Any]]:
    """Public name, class or function, argument, and its annotation."""
    for room in rooms:
        module = importlib.import_module(f"secateur.{room}")
        for public in module.__all__:
            thing = getattr(module, public)
            own = inspect.getmodule(thing)
            if not (inspect.isclass(thing) or inspect.isfunction(thing)) or own is None:
                continue
            function = thing.__init__ if inspect.isclass(thing) else thing
            try:
                kinds = get_type_hints(function, vars(sys.modules[own.__name__]))
            except NameError:  # such as Task, whose annotation only a type checker imports
                continue
            yield from ((public, thing, name, kind) for name, kind in kinds.items() if name != "return")
