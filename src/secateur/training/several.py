"""Several optimizers as one, such as Muon for the matrices and AdamW for all else."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle


class Several(Optimizer):
    """A step of it is a step of each, in order; groups and state are those of all, the very same objects.

    Args:
        parts: The optimizers; no parameter is in two.

    Raises:
        ValueError: If there is none, or two train one parameter.
    """

    def __init__(self, parts: Sequence[Optimizer]) -> None:
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
        self.parts, self._stepping = (), False
        super().__init__(list(owners), {})
        self.parts = tuple(parts)
        self.param_groups = [group for part in parts for group in part.param_groups]
        self.defaults = {key: value for part in reversed(parts) for key, value in part.defaults.items()}
        self.state = defaultdict(dict, {p: held for part in parts for p, held in part.state.items()})
        self._share()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One step of each; the closure is called once, before the first."""
        self._gather()
        with torch.enable_grad():
            loss = None if closure is None else closure()
        self._stepping = True
        try:
            for part in self.parts:
                part.step()
        finally:
            self._stepping = False
        return loss

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Refused: ValueError; a group is added to the one of the optimizers that is to train it, and is the whole's with its next call."""
        if self.parts:
            kinds = " and ".join(type(part).__name__ for part in self.parts)
            raise ValueError(
                f"add_param_group: this is several optimizers in one ({kinds}), and which of them is to train the group is not said; add it to "
                "one of those that were given to pruning.attach([...])."
            )
        super().add_param_group(param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Of all."""
        self._gather()
        super().zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """As of any optimizer."""
        self._gather()
        return super().state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As of any optimizer; the parts go on from it too."""
        self._gather()
        super().load_state_dict(state_dict)
        self._share()

    def part_of(self, parameter: Tensor) -> Optimizer:
        """The optimizer that trains a parameter."""
        return next(
            part
            for part in self.parts
            if any(p is parameter for group in part.param_groups for p in group["params"])
        )

    def guard(self) -> list[RemovableHandle]:
        """See :func:`guards`."""

        def before(part: Optimizer, *_: Any) -> None:
            if not self._stepping:
                raise RuntimeError(
                    f"{type(part).__name__} is one of several optimizers in this training and was stepped alone; step what "
                    "pruning.attach([...]) returned, which steps them all."
                )

        return [part.register_step_pre_hook(before) for part in self.parts]

    def _gather(self) -> None:
        """Takes in the groups that a part has got since."""
        found = [group for part in self.parts for group in part.param_groups]
        if len(found) == len(self.param_groups):
            return
        counts = Counter(p for group in found for p in group["params"])
        if twice := [p for p, count in counts.items() if count > 1]:
            raise ValueError(
                f"Two optimizers train one parameter, of shape {list(twice[0].shape)}; give each parameter to one of them."
            )
        self.param_groups[:] = found

    def _share(self) -> None:
        start = 0
        for part in self.parts:
            end = start + len(part.param_groups)
            part.state, part.param_groups = self.state, self.param_groups[start:end]
            start = end

    def __getstate__(self) -> dict[str, Any]:  # for copies
        return {**super().__getstate__(), "parts": self.parts, "_stepping": False}


def guards(optimizer: Optimizer) -> list[RemovableHandle]:
    """Hooks that refuse the step of one of several optimizers alone, of which methods would not know; none of one optimizer."""
    return optimizer.guard() if isinstance(optimizer, Several) else []
