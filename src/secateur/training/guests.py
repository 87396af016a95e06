"""What a training asks of its optimizer, of one that somebody else has made already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import deepcopy
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

# The lists that learning rate schedulers keep, an entry a group.
_PER_GROUP = (
    "base_lrs", "_last_lr", "_init_lrs", "min_lrs", "max_lrs", "lr_lambdas", "base_momentums", "max_momentums",
)  # fmt: skip


class Guests:
    """Parameter groups of a training in an optimizer that was made without them, and in its schedulers.

    What the optimizer has already moves to a group of its own where settings differ, and keeps its state; what it has not
    joins. Either goes on with the learning rate, the schedule and the other settings of the group that it came from, those
    that join with the first group's. ``optimizer.state_dict()`` is still that of the optimizer as it was made, and such a one
    is loaded, so that its owner can save and resume it without knowing; :meth:`state_dict` has the rest.

    Args:
        model: For the names of its parameters.
        optimizer: It has all of the model's parameters that require a gradient.
        groups: Of :meth:`secateur.Pruning.groups`.
        schedulers: All that set learning rates of ``optimizer``.

    Raises:
        ValueError: If the optimizer lacks parameters of the model.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        groups: list[dict[str, Any]],
        schedulers: Iterable[object] = (),
    ) -> None:
        check_whole(model, optimizer)
        self._optimizer, self._groups = optimizer, groups[1:]  # the first is the model's, without settings
        self._schedulers = [nested for scheduler in schedulers for nested in _nested(scheduler)]
        self._hosts = [_members(group) for group in optimizer.param_groups]
        held = {id(p): host for host, members in enumerate(self._hosts) for p in members["params"]}
        self._host = {id(p): held.get(id(p), 0) for group in groups for p in group["params"]}
        self._joined = [p for group in groups for p in group["params"] if id(p) not in held]
        self._stashed: list[dict[str, Any]] = []
        self._seat()
        self._hooks: list[Any] = [
            optimizer.register_state_dict_post_hook(lambda _, state: self._as_made(state)),
            optimizer.register_load_state_dict_pre_hook(lambda *_: self._unseat()),
            optimizer.register_load_state_dict_post_hook(lambda *_: self._seat()),
        ]

    def release(self) -> None:
        """Leaves optimizer and schedulers as they were made; twice does no harm."""
        if self._hooks:
            self._unseat()
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def zero_grad(self) -> None:
        """For loops that zero the gradients of the model alone: those of what joined."""
        for parameter in self._joined:
            parameter.grad = None

    def state_dict(self) -> list[dict[str, Any]]:
        """The optimizer's state of what joined, in order."""
        return [dict(self._optimizer.state.get(p, {})) for p in self._joined]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Takes up :meth:`state_dict`."""
        for parameter, state in zip(self._joined, states, strict=True):
            # A step that is counted on the host stays there, as torch leaves it.
            on = {
                k: v.to(parameter.device) if isinstance(v, Tensor) and v.dim() else v
                for k, v in state.items()
            }
            if on:
                self._optimizer.state[parameter] = on

    def _seat(self) -> None:
        made, hosts = self._optimizer.param_groups, list[int]()
        present = {id(p) for members in self._hosts for p in members["params"]}
        for group in self._groups:
            settings = {key: value for key, value in group.items() if key != "params"}
            for host in sorted({self._host[id(p)] for p in group["params"]}):
                guests = [p for p in group["params"] if self._host[id(p)] == host]
                alike = all(made[host].get(key) == value for key, value in settings.items())
                moving = [p for p in guests if not alike or id(p) not in present]
                if moving:
                    hosts.append(host)
                    made.append(_split(made[host], moving, settings))
        count = len(self._hosts)
        for scheduler in self._schedulers:
            for name in _PER_GROUP:
                values = getattr(scheduler, name, None)
                if isinstance(values, list) and len(values) >= count:
                    setattr(scheduler, name, [*values[:count], *(_again(values[host]) for host in hosts)])
        if self._stashed:
            self.load_state_dict(self._stashed)

    def _unseat(self) -> None:
        self._stashed = self.state_dict()
        for parameter in self._joined:
            self._optimizer.state.pop(parameter, None)
        count = len(self._hosts)
        del self._optimizer.param_groups[count:]
        for group, members in zip(self._optimizer.param_groups, self._hosts, strict=True):
            group.update({key: list(value) for key, value in members.items()})
        for scheduler in self._schedulers:
            for name in _PER_GROUP:
                values = getattr(scheduler, name, None)
                if isinstance(values, list):
                    setattr(scheduler, name, values[:count])

    def _as_made(self, state: dict[str, Any]) -> dict[str, Any]:
        """The optimizer's ``state_dict`` without its guests."""
        numbers = {id(p): n for n, p in enumerate(p for m in self._hosts for p in m["params"])}
        seats = [numbers.get(id(p)) for group in self._optimizer.param_groups for p in group["params"]]
        found = {seats[k] if isinstance(k, int) else k: v for k, v in state["state"].items()}
        groups = state["param_groups"][: len(self._hosts)]
        for group, members in zip(groups, self._hosts, strict=True):
            group.update({**members, "params": [numbers[id(p)] for p in members["params"]]})
        return {**state, "state": {k: v for k, v in found.items() if k is not None}, "param_groups": groups}


def check_whole(model: nn.Module, optimizer: Optimizer) -> None:
    """Raises ValueError naming parameters of the model that require a gradient and that the optimizer does not have."""
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    missing = [n for n, p in model.named_parameters() if p.requires_grad and id(p) not in held]
    if missing:
        raise ValueError(
            f"The optimizer ({type(optimizer).__name__}) lacks {', '.join(missing[:3])}{' and more' if len(missing) > 3 else ''}; give "
            "it all parameters of the model, and let those that are not to be trained require no gradient."
        )


def _members(group: dict[str, Any]) -> dict[str, list[Any]]:
    return {key: list(group[key]) for key in ("params", "param_names") if key in group}


def _split(host: dict[str, Any], moving: list[nn.Parameter], settings: dict[str, Any]) -> dict[str, Any]:
    """A group for ``moving``, which leave ``host`` if they are in it."""
    members = _members(host)
    made = {**deepcopy({key: value for key, value in host.items() if key not in members}), **settings}
    gone = {id(p) for p in moving}
    if "param_names" in members:
        names = dict(zip(map(id, members["params"]), members["param_names"], strict=True))
        made["param_names"] = [names.get(id(p), f"joined.{n}") for n, p in enumerate(moving)]
        host["param_names"] = [n for p, n in names.items() if p not in gone]
    host["params"] = [p for p in members["params"] if id(p) not in gone]
    return {"params": moving, **made}


def _again(value: Any) -> Any:
    """An entry of a scheduler's list once more; of a callable a function, which no ``state_dict`` holds."""
    return (lambda epoch: value(epoch)) if callable(value) else deepcopy(value)


def _nested(scheduler: Any) -> Iterator[object]:
    """A scheduler and those that it is made of or wraps."""
    yield scheduler
    inner = [*getattr(scheduler, "_schedulers", ()), getattr(scheduler, "scheduler", None)]
    for one in inner:
        if one is not None:
            yield from _nested(one)
