"""What decides a training's result, as plain values, so that a state of another one can be told and refused."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Container, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from types import FunctionType
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.optim import Optimizer

from secateur.problem import Problem, Together, length, world_size
from secateur.storage import mismatches, tensors_of

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_PLAIN = (bool, int, float, str, type(None))
_REMEDIES = {"processes": " (start as many as there, such as by torchrun --nproc-per-node)"}


def identity(part: object, kind: str) -> dict[str, Any]:
    """The class of a method or weighting, and those of its settings that are plain values, or made of them by a dataclass.

    Of a dataclass (a pattern) the fields that are not at their defaults, so that one at its defaults is as if there was none.

    Args:
        part: As it was made, before ``start``.
        kind: What the keys begin with.
    """
    asked = _arguments(type(part))  # not what `start` finds: an object that was used is as good as new
    given = {n: v for n, v in getattr(part, "__dict__", {}).items() if n in asked}
    settings = {n: v for n, v in given.items() if _is_plain(v)}
    for name, made in given.items():
        if is_dataclass(made) and not isinstance(made, type):
            own = {f.name: _told(getattr(made, f.name)) for f in fields(made)}
            defaults = {f.name: f.default for f in fields(made)}
            settings |= {f"{name}.{n}": v for n, v in own.items() if _is_plain(v) and v != defaults[n]}
    return {kind: type(part).__qualname__, **{f"{kind}.{n}": _plain(v) for n, v in settings.items()}}


def identity_of_pruning(problem: Problem, method: object, weighting: object) -> dict[str, Any]:
    """Method and weighting, and the factors of the tasks that have one."""
    factors = {
        f"weight of task {t}": float(task.weight) for t, task in problem.tasks.items() if task.weight != 1.0
    }
    return {**identity(method, "method"), **identity(weighting, "weighting"), **factors}


def with_processes(found: Mapping[str, Any], together: Together) -> dict[str, Any]:
    """``found``, and how many processes train now; they may be fewer when a method is made than when it trains.

    Those that share each batch train as one.
    """
    return {**found, "processes": world_size() if together.whole is None else 1}


def identity_of_training(
    parts: Mapping[str, Any], optimizer: Optimizer, fabric: Fabric, data: object, shared: bool
) -> dict[str, Any]:
    """What else decides the result of a training: optimizer, precision, processes, data, and ``parts`` by their names.

    Where the processes share each batch, the result is that of one process, whatever their number.
    """
    found: dict[str, Any] = {
        "optimizer": " and ".join(
            type(part).__qualname__ for part in getattr(optimizer, "parts", [optimizer])
        ),
        **{f"optimizer.{name}": value for name, value in optimizer.defaults.items() if _is_plain(value)},
        "precision": str(fabric.strategy.precision.precision),
        "processes": 1 if shared else fabric.world_size,
        "batches of an epoch": length(data),
    }
    found |= {"data": held} if (held := fingerprint(data)) else {}
    for i, group in enumerate(optimizer.param_groups):
        own = {n: v for n, v in group.items() if _is_plain(v) and v != optimizer.defaults.get(n)}
        found |= {f"optimizer.group {i}.{n}": v for n, v in own.items()}
    for name, part in parts.items():
        found |= {name: part} if _is_plain(part) else _of_callable(part, name)
    schedule = parts.get("schedule")
    if callable(schedule) and not (isinstance(schedule, FunctionType) and schedule.__closure__ is None):
        # One made of others, or by a function that takes settings: their names alone do not tell it.
        course = [f"{float(cast(Any, schedule)(place / 100)):.5g}" for place in range(100)]
        found["course of schedule"] = digest_of(" ".join(course))[:12]
    return found


def _of_callable(part: Any, name: str) -> dict[str, Any]:
    if isinstance(part, partial):
        given = {**{str(i): v for i, v in enumerate(part.args)}, **part.keywords}
        settings = {f"{name}.{n}": _plain(v) for n, v in given.items() if _is_plain(v)}
        return {**_of_callable(part.func, name), **settings}
    return {name: part.__qualname__} if isinstance(part, (FunctionType, type)) else identity(part, name)


def _arguments(kind: type) -> Container[str]:
    try:
        return inspect.signature(kind).parameters
    except ValueError:  # one of C says none
        return ()


def _told(value: Any) -> Any:
    """Tensors by a digest, such as the groups of a penalty."""
    return digest_of(value)[:12] if any(True for _ in tensors_of(value)) else value


def digest_of(*values: Any) -> str:
    """SHA-256 of the tensors in nests, with their paths and shapes; of a string as it is."""
    found = hashlib.sha256()
    for value in values:
        found.update(value.encode() if isinstance(value, str) else b"")
        for name, tensor in tensors_of(value):
            found.update(f"{name} {tuple(tensor.shape)}".encode())
            found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def fingerprint(data: object) -> str:
    """Which data a loader reads, where it says so; empty otherwise."""
    return str(getattr(data, "fingerprint", ""))


def check_state(
    state: Mapping[str, Any], here: Mapping[str, Any], named: Mapping[str, Tensor], steps: int
) -> None:
    """Checks that a state of ``Pruning`` can take the place of the present one.

    Args:
        state: As it was read.
        here: As it would be saved now.
        named: The model's parameters.
        steps: Announced, over all rounds.

    Raises:
        ValueError: If it is of another training, or has other entries, shapes or dtypes; nothing is changed.
    """
    if lacking := sorted(here.keys() - state.keys()):
        raise ValueError(
            f"this is no state of Pruning; it has no {', '.join(lacking)}. Give what state_dict() returned."
        )
    mine = {**here["identity"], "steps": steps}
    if found := differences({**state["identity"], "steps": state["total"]}, mine):
        raise ValueError(f"the state is of another training: {found}. Ask for the same, or begin anew.")
    if wrong := list(mismatches({**here, "identity": None}, {**state, "identity": None}, named)):
        raise ValueError(f"the state cannot be taken up: {'; '.join(wrong[:3])}. Begin anew.")
    if not 0 <= state["done"] <= steps:
        raise ValueError(f"the state is of step {state['done']} of {steps}. Begin anew.")


def differences(saved: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """What differs, in words; empty where nothing does."""
    names = sorted(n for n in saved.keys() | here.keys() if saved.get(n) != here.get(n))
    return "; ".join(
        f"{name} is {saved.get(name)} there and {here.get(name)} here{_REMEDIES.get(name, '')}"
        for name in names
    )


def _plain(value: Any) -> Any:
    """As Python's own types; NumPy's float is a float too, and no file of plain values takes it."""
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(map(_plain, value))
    kind = next((kind for kind in _PLAIN[:4] if isinstance(value, kind)), None)
    return value if kind is None or kind is bool else kind(value)


def _is_plain(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(_is_plain(key) and _is_plain(item) for key, item in value.items())
    if isinstance(value, (tuple, list)):
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN)
