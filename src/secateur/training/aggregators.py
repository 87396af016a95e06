"""Aggregators by name and settings, and what stateful ones remember between steps."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, cast

import torch
from torch import Tensor, nn

from secateur.training.aggregation import Aggregator

_PLAIN = (Tensor, bool, int, float, str, torch.dtype, torch.device, type(None))
_OF_EVERY_MODULE = frozenset(vars(nn.Module())) - {"_parameters", "_buffers"}


def of_torchjd(name: str) -> Callable[..., Aggregator]:
    """TorchJD's aggregator of this name.

    Raises:
        ValueError: If it has none of this name.
        ImportError: If TorchJD is not installed; it says what to install.
    """
    try:
        from torchjd import aggregation
    except ImportError as error:
        raise ImportError(
            f"aggregator {name!r} needs TorchJD: pip install 'secateur[torchjd]' ({error})."
        ) from error
    found: Any = getattr(aggregation, name, None)
    if found is None:
        raise ValueError(
            f"aggregator is {name!r}; torchjd.aggregation has no such class, see TorchJD's documentation."
        )
    if not (inspect.isclass(found) and issubclass(found, aggregation.Aggregator)):
        raise ValueError(
            f"aggregator is {name!r}; torchjd.aggregation has it, but it is no aggregator: it gives no direction. "
            "Take one of the same name without 'Weighting', such as UPGrad."
        )
    if inspect.isabstract(found):
        raise ValueError(
            f"aggregator is {name!r}, which is the base of aggregators; take one, such as UPGrad."
        )
    return cast(Callable[..., Aggregator], found)


def aggregator(
    asked: str | Mapping[str, Any] | None, find: Callable[[str], Callable[..., Aggregator]] = of_torchjd
) -> Aggregator | None:
    """The aggregator that a configuration names.

    Args:
        asked: The name, or ``{"name": ..., setting: value}``; a list where a tensor is wanted becomes one. None for none.
        find: Name to class, and who says which names may be looked up.

    Raises:
        ValueError: If there is none of this name, or it does not take these settings; what it takes is said.
        ImportError: If TorchJD, or a package that this aggregator needs beside it, is not installed; it says what to install.
    """
    if asked is None:
        return None
    settings: dict[str, Any] = {"name": asked} if isinstance(asked, str) else dict(asked)
    name = settings.pop("name", None)
    if not isinstance(name, str):
        raise ValueError(f"aggregator is {asked!r}, without a name; give such as '{{name: CAGrad, c: 0.5}}'.")
    made = find(name)
    parameters = inspect.signature(made).parameters
    _check_settings(name, parameters, settings)
    for key, value in settings.items():
        if isinstance(value, list) and key in parameters and "Tensor" in str(parameters[key].annotation):
            settings[key] = torch.tensor(value, dtype=torch.get_default_dtype())
    try:
        return made(**settings)
    except ImportError as error:
        raise ImportError(f"aggregator {name} needs more than TorchJD: {error}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"aggregator {name} refuses {settings or 'its defaults'}: {error}") from error


def _check_settings(name: str, known: Mapping[str, inspect.Parameter], settings: Mapping[str, Any]) -> None:
    """Raises ValueError for a setting that is not there, or one that must be given."""
    if not any(p.kind is p.VAR_KEYWORD for p in known.values()):
        for key in settings:
            if key not in known:
                near = get_close_matches(key, known, n=1)
                said = f" Did you mean {near[0]}?" if near else ""
                raise ValueError(
                    f"aggregator {name} has no setting {key}; it has {', '.join(known) or 'none'}.{said}"
                )
    needed = [n for n, p in known.items() if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    if lacking := [n for n in needed if n not in settings]:
        raise ValueError(
            f"aggregator {name} lacks {' and '.join(lacking)}; give such as '{{name: {name}, {lacking[0]}: ...}}'."
        )


class Memory:
    """What an aggregator remembers between steps, as a checkpoint can hold it.

    An aggregator remembers if it or a module in it has ``reset``, as TorchJD's stateful ones have: then all its tensors and
    plain values count. One of the user's own may have ``state_dict`` and ``load_state_dict`` instead.

    Args:
        aggregator: None remembers nothing.
        device: Of the training, where tensors that were not on the host go to.
    """

    def __init__(self, aggregator: Aggregator | None, device: torch.device) -> None:
        self._aggregator: Any = aggregator
        self._device = device
        modules = aggregator.named_modules() if isinstance(aggregator, nn.Module) else [("", aggregator)]
        self._parts: dict[str, Any] = dict(modules)
        self._walked = any(hasattr(part, "reset") for part in self._parts.values())
        self._own = not self._walked and all(
            hasattr(aggregator, verb) for verb in ("state_dict", "load_state_dict")
        )

    def check(self) -> None:
        """Raises ValueError if it remembers what a checkpoint cannot hold."""
        for path, part in self._parts.items() if self._walked else ():
            for name, value in _attributes(part).items():
                if hasattr(part, "reset") and not _plain(value):
                    raise ValueError(
                        f"aggregator: {self._name} keeps {f'{path}.{name}'.lstrip('.')}, of type {type(value).__name__}, between "
                        "steps, which no checkpoint can hold, so a stopped run could not go on; take another aggregator, or "
                        "call fit without a checkpoint."
                    )

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values; empty if nothing is remembered."""
        if self._own:
            return {"name": self._name, "own": self._aggregator.state_dict()}
        if not self._walked:
            return {}
        values = {
            path: {name: value for name, value in _attributes(part).items() if _plain(value)}
            for path, part in self._parts.items()
        }
        host = {
            path: [name for name, value in found.items() if _on_host(value)] for path, found in values.items()
        }
        return {"name": self._name, "values": values, "host": host}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up what :meth:`state_dict` gave.

        Raises:
            ValueError: If it is of another aggregator.
        """
        expected = self._name if self._walked or self._own else None
        if state.get("name") != expected or set(state.get("values", ())) != (
            set(self._parts) if self._walked else set()
        ):
            raise ValueError(
                f"aggregator: the checkpoint is of a run with {state.get('name') or 'none that remembers'}, not "
                f"{expected or 'one that remembers nothing'}; resume with the same, or delete the checkpoint."
            )
        if self._own:
            self._aggregator.load_state_dict(state["own"])
        for path, found in state.get("values", {}).items():
            for name, value in found.items():
                place = torch.device("cpu") if name in state["host"][path] else self._device
                _set(self._parts[path], name, _moved(value, place, self._device))

    @property
    def _name(self) -> str:
        return type(self._aggregator).__name__


def _attributes(part: Any) -> dict[str, Any]:
    """What an object holds; of a module its parameters and buffers, not what every module has."""
    held = dict(getattr(part, "__dict__", {}))
    if not isinstance(part, nn.Module):
        return held
    mine = {name: value for name, value in held.items() if name not in _OF_EVERY_MODULE}
    return {**mine, **mine.pop("_parameters"), **mine.pop("_buffers")}


def _plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(_plain(v) for v in (*value.keys(), *value.values()))
    return (
        all(_plain(v) for v in value) if isinstance(value, (list, tuple, set)) else isinstance(value, _PLAIN)
    )


def _on_host(value: Any) -> bool:
    return isinstance(value, Tensor) and value.device.type == "cpu"


def _moved(value: Any, place: torch.device, device: torch.device) -> Any:
    """``value`` with its tensors at ``place``, and mentions of another device than the host's as ``device``."""
    if isinstance(value, Tensor):
        return value.to(place)
    if isinstance(value, torch.device):
        return value if value.type == "cpu" else device
    if isinstance(value, Mapping):
        return {key: _moved(v, place, device) for key, v in value.items()}
    if isinstance(value, (list, tuple, set)):
        return type(value)(_moved(v, place, device) for v in value)
    return value


def _set(part: Any, name: str, value: Any) -> None:
    if isinstance(old := getattr(part, name, None), nn.Parameter):
        old.data = value
    else:
        setattr(part, name, value)
