"""What a name in a file or on the command line may be: this is the one place that decides.

A name without a dot is one of ours. A name with a dot is somebody's, and importing it runs their code; so it is imported
only where the user has said so on this very command line, by the name itself or by ``--trust``. A file's word is no user's.
"""

from __future__ import annotations

import importlib
import inspect
import reprlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from secateur.runs.parser import nearest
from secateur.runs.written import said

Kind = Literal["data", "model", "method", "weighting", "aggregator", "optimizer", "callback"]
ROOMS: dict[Kind, str] = {"data": "data", "model": "zoo", "method": "methods", "weighting": "weighting"}
"""Kind of a part to the room that has ours."""
_EXAMPLES: dict[Kind, str] = {
    "data": "my_lab.streets.streets",
    "model": "my_lab.networks.two_heads",
    "method": "my_lab.wanda.Wanda",
}
CHOSEN: tuple[Kind, ...] = (*ROOMS, "optimizer")
"""Kinds of which one is chosen, whose options are then those of the command line."""


# Of torch's optimizers: the base, one that calls the loss itself, and one of sparse gradients.
_OTHER_LOOPS = ("Optimizer", "LBFGS", "SparseAdam")


# Callbacks that write or send somewhere, which is for the command line alone to say; and the base.
_NOT_IN_FILES = ("Callback", "Snapshots", "Tracker")


@dataclass(frozen=True)
class Trust:
    """Whom the user trusts, and what is being read.

    Args:
        packages: Import paths of packages, modules or objects, as of ``--trust my_lab``; all in them is trusted.
        named: ``(kind, import path)`` that the command line itself names.
        place: What the names are read from, for errors; empty for the command line.
    """

    packages: frozenset[str] = frozenset()
    named: frozenset[tuple[str, str]] = frozenset()
    place: str = ""

    def reading(self, place: object) -> Trust:
        """The same, for names in the file ``place``."""
        return replace(self, place=str(place))

    def check(self, kind: Kind, name: object) -> str:
        """``name`` if it may be looked up; nothing is imported.

        Raises:
            ValueError: If it is no name, or somebody's whom the user has not named.
        """
        start = f"{self.place} names" if self.place else "This command names"
        if not isinstance(name, str) or not all(map(_open, name.split("."))):
            raise ValueError(
                f"{start} {kind} {reprlib.repr(name)}, which is no name; give one of ours, or an import path."
            )
        if "." in name and not self._exactly(kind, name) and not self._within(name.rpartition(".")[0]):
            raise ValueError(
                f"{start} {kind} {said(name)}, which is not ours, and to import it runs its code; if you trust where this comes "
                f"from, say --trust {said(name.partition('.')[0])}."
            )
        return name

    def check_origin(self, kind: Kind, name: str, found: object) -> None:
        """Refuses what a trusted module has only imported from elsewhere, such as its ``run`` from ``subprocess``."""
        origin = getattr(found, "__module__", None)
        if not self._exactly(kind, name) and not (isinstance(origin, str) and self._within(origin)):
            raise ValueError(
                f"{self.place} names {kind} {name}, which is of {origin}, and that --trust does not name; if you trust it, "
                f"say --trust {name}."
            )

    def _exactly(self, kind: Kind, name: str) -> bool:
        return name in self.packages or (kind, name) in self.named

    def _within(self, module: str) -> bool:
        return any(module == trusted or module.startswith(f"{trusted}.") for trusted in self.packages)


def find(kind: Kind, name: object, trust: Trust | None = None) -> Callable[..., Any]:
    """The part called ``name``: ours by its name, anyone's whom ``trust`` covers by ``module.name``.

    Raises:
        ValueError: If there is none, it is of another kind, or it is not trusted; before anything foreign is imported.
        ImportError: If an aggregator is asked and TorchJD is not installed.
    """
    trust = trust or Trust()
    name = trust.check(kind, name)
    if "." in name:
        return _foreign(kind, name, trust)
    if kind == "aggregator":
        from secateur.training import of_torchjd

        return of_torchjd(name)
    known = ours(kind)
    if name not in known:
        raise ValueError(
            f"{_start(kind, name, trust)}: no such {kind}. {_known(kind)}.{nearest(name, known)}"
        )
    return known[name]


def ours(kind: Kind) -> Mapping[str, Callable[..., Any]]:
    """Our parts of a kind by their names: not all that their room hands out."""
    if kind == "optimizer":
        import torch

        found = {name: one for name, one in vars(torch.optim).items() if _fits(kind, one)}
        return {name: one for name, one in found.items() if name not in _OTHER_LOOPS}
    room = importlib.import_module(f"secateur.{ROOMS.get(kind, 'training')}")
    if kind == "data":
        return {name: getattr(room, name) for name in room.FRAMES}
    handed = {name: getattr(room, name) for name in room.__all__ if name not in _NOT_IN_FILES}
    return {name: found for name, found in handed.items() if _fits(kind, found)}


def check_made(kind: Kind, name: str, made: object) -> None:
    """Raises ValueError if what a part returned is not what its kind must return."""
    if kind == "data":
        from secateur.data import Data as Wanted
    elif kind == "model":
        from torch.nn import Module as Wanted
    else:
        return
    if not isinstance(made, Wanted):
        raise ValueError(
            f"{kind} {name} returned {type(made).__name__}; it must return a {Wanted.__module__.partition('.')[0]} {Wanted.__name__}."
        )


def _foreign(kind: Kind, name: str, trust: Trust) -> Callable[..., Any]:
    module, _, attribute = name.rpartition(".")
    try:
        if (here := str(Path.cwd())) not in sys.path:
            sys.path.append(here)  # after all that is installed, so that a file there takes nobody's place
        holder = importlib.import_module(module)
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            raise _none_such(kind, name, trust, error) from error
        raise _unimportable(kind, name, trust, error) from error
    except Exception as error:  # whatever somebody's module raises
        raise _unimportable(kind, name, trust, error) from error
    try:
        found = getattr(holder, attribute)
    except AttributeError as error:
        raise _none_such(kind, name, trust, error) from error
    trust.check_origin(kind, name, found)
    if not _fits(kind, found):
        wanted = {"method": "a class that derives from secateur.Sparsifier",
                  "weighting": "a class that derives from secateur.Weighting",
                  "data": "a function that returns secateur's Data",
                  "model": "a class or function that makes a torch.nn.Module",
                  "optimizer": "a class that derives from torch.optim.Optimizer",
                  "callback": "a class that derives from secateur.Callback",
                  "aggregator": "a class or function that makes an aggregator"}[kind]  # fmt: skip
        raise ValueError(
            f"{_start(kind, name, trust)} is {_described(found)}; {'an' if kind[0] in 'ao' else 'a'} {kind} is {wanted}."
        )
    return found


def _none_such(kind: Kind, name: str, trust: Trust, error: Exception) -> ValueError:
    return ValueError(f"{_start(kind, name, trust)}: no such {kind} ({error}). {_known(kind)}.")


def _unimportable(kind: Kind, name: str, trust: Trust, error: Exception) -> ValueError:
    reason = said(f"{type(error).__name__}: {error}")
    return ValueError(
        f"{_start(kind, name, trust)}: {name.rpartition('.')[0]} cannot be imported ({reason})."
    )


def _fits(kind: Kind, found: object) -> bool:
    if kind == "method":
        from secateur.pruning import Sparsifier as Wanted
    elif kind == "weighting":
        from secateur.weighting import Weighting as Wanted
    elif kind == "optimizer":
        from torch.optim import Optimizer as Wanted
    elif kind == "callback":
        from secateur.training import Callback as Wanted
    else:
        return callable(found)
    return inspect.isclass(found) and issubclass(found, Wanted)


def _described(found: object) -> str:
    return f"the class {found.__qualname__}" if inspect.isclass(found) else f"a {type(found).__name__}"


def _open(word: str) -> bool:
    return word.isidentifier() and not word.startswith("__")


def _start(kind: Kind, name: str, trust: Trust) -> str:
    return f"{trust.place}: {kind} {said(name)}" if trust.place else f"--{kind} {name}"


def _known(kind: Kind) -> str:
    listed = "TorchJD's" if kind == "aggregator" else ", ".join(ours(kind))
    return f"Ours are {listed}; your own is named by its import path, such as {_EXAMPLES.get(kind, 'my_lab.parts.Mine')}"
