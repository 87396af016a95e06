"""Several optimizers as one, such as Muon for the matrices and AdamW for all else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle


class Several(Optimizer):
    """A step of it is a step of each, in order; groups and state are looked up in them, whatever they have loaded or got since.

    Args:
        parts: The optimizers; no parameter is in two.
        wrapped: What is stepped in their places, such as wrappers around them; they themselves if None.

    Raises:
        ValueError: If there is none, or two train one parameter.
    """

    def __init__(self, parts: Sequence[Optimizer], wrapped: Sequence[Any] | None = None) -> None:
        self._steppers = tuple(wrapped or parts)
        parts = [inner for part in parts for inner in getattr(part, "parts", [part])]
        owners: dict[Tensor, Optimizer] = {}
        for part in parts:
            for p in (p for group in part.param_groups for p in group["params"]):
                if owners.setdefault(p, part) is not part:
                    raise ValueError(
                        f"Two optimizers ({type(owners[p]).__name__} and {type(part).__name__}) train one parameter, of shape "
                        f"{list(p.shape)}; give each parameter to one of them."
                    )
        if not owners:
            raise ValueError("There is no optimizer with a parameter among those given; give at least one.")
        self.parts, self._stepping, self._homeless = tuple(parts), False, dict[Any, Any]()
        self._known = len(self.param_groups)
        settings = {key: value for part in reversed(parts) for key, value in part.defaults.items()}
        super().__setstate__({"defaults": settings})  # not __init__, which would make groups of its own

    @property
    def param_groups(self) -> list[dict[str, Any]]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Those of all, the very same objects."""
        return [group for part in self.parts for group in part.param_groups]

    @property
    def state(self) -> MutableMapping[Any, Any]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """That of all; what is changed in it is changed in theirs."""
        return _States(self.parts, self._homeless)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One step of each; the closure is called once, before the first."""
        self._check()
        with torch.enable_grad():
            loss = None if closure is None else closure()
        self._stepping = True
        try:
            for stepper in self._steppers:
                stepper.step()
        finally:
            self._stepping = False
        return loss

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Refused: ValueError; a group is added to the one of the optimizers that is to train it, and is the whole's with its next call."""
        kinds = " and ".join(type(part).__name__ for part in self.parts)
        raise ValueError(
            f"add_param_group: this is several optimizers in one ({kinds}), and which of them is to train the group is not said; add it to "
            "one of those that were given to pruning.attach([...])."
        )

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Of all."""
        self._check()
        super().zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """As of any optimizer: that of all in one."""
        self._check()
        return super().state_dict()

    def guard(self) -> list[RemovableHandle]:
        """See :func:`guards`."""

        def before(part: Optimizer, *_: Any) -> None:
            if not self._stepping:
                raise RuntimeError(
                    f"{type(part).__name__} is one of several optimizers in this training and was stepped alone; step what "
                    "pruning.attach([...]) returned, which steps them all."
                )

        return [part.register_step_pre_hook(before) for part in self.parts]

    def _check(self) -> None:
        """What the parts have got since the last call belongs to one of them: groups, and state of parameters that came into their groups."""
        groups = self.param_groups
        if len(groups) != self._known:
            counts = Counter(p for group in groups for p in group["params"])
            if twice := [p for p, count in counts.items() if count > 1]:
                raise ValueError(
                    f"Two optimizers train one parameter, of shape {list(twice[0].shape)}; give each parameter to one of them."
                )
            self._known = len(groups)
        for p in [*self._homeless]:
            self.state[p] = self._homeless.pop(p)

    def __getstate__(self) -> dict[str, Any]:  # for copies
        kept = {"defaults": self.defaults, "parts": self.parts, "_steppers": self._steppers}
        return {**kept, "_known": self._known, "_homeless": self._homeless, "_stepping": False}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Of a copy; or what ``load_state_dict`` has found to fit, which goes to the parts."""
        if "parts" in state:
            super().__setstate__(state)
            return
        left = iter(state["param_groups"])
        for part in self.parts:
            groups = [next(left) for _ in part.param_groups]
            numbers = {p: n for n, p in enumerate(p for group in groups for p in group["params"])}
            own = {k: v for k, v in state["state"].items() if k in numbers or not isinstance(k, Tensor)}
            part.load_state_dict(
                {
                    "state": {numbers.get(key, key): value for key, value in own.items()},
                    "param_groups": [{**g, "params": [numbers[p] for p in g["params"]]} for g in groups],
                }
            )


class _States(MutableMapping[Any, Any]):
    """The states of several optimizers as one.

    Args:
        parts: The optimizers.
        homeless: Room for what is of a parameter that none of them has in its groups, or not yet.
    """

    def __init__(self, parts: Sequence[Optimizer], homeless: dict[Any, Any]) -> None:
        self._parts, self._homeless = parts, homeless

    def _home(self, key: Any) -> MutableMapping[Any, Any]:
        """Where the state of a parameter is, or would be."""
        held = (part.state for part in self._parts if key in part.state)
        owned = (part.state for part in self._parts if _trains(part, key))
        return next(chain(held, owned), self._homeless)

    def __getitem__(self, key: Any) -> Any:
        return self._home(key)[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._home(key)[key] = value

    def __delitem__(self, key: Any) -> None:
        del self._home(key)[key]

    def get(self, key: Any, default: Any = None) -> Any:
        """Without making an entry."""
        return self._home(key).get(key, default)

    def pop(self, key: Any, *default: Any) -> Any:
        """As of a dict."""
        return self._home(key).pop(key, *default)

    def __contains__(self, key: object) -> bool:
        return key in self._homeless or any(key in part.state for part in self._parts)

    def __iter__(self) -> Iterator[Any]:
        return chain(*(part.state for part in self._parts), self._homeless)

    def __len__(self) -> int:
        return len(self._homeless) + sum(len(part.state) for part in self._parts)


def _trains(part: Optimizer, parameter: object) -> bool:
    return any(p is parameter for group in part.param_groups for p in group["params"])


def guards(optimizer: Optimizer) -> list[RemovableHandle]:
    """Hooks that refuse the step of one of several optimizers alone, of which methods would not know; none of one optimizer."""
    return optimizer.guard() if isinstance(optimizer, Several) else []
