"""Masks that hold: a pruned weight, its gradient and its optimizer state stay zero."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

_FEW = 0.005  # of the weights asked for; some dead weights are what any training leaves


def before_step(
    optimizer: Optimizer,
    act: Callable[[], object],
    *,
    begin: Callable[[], object] = bool,
    again: Callable[[], object] = bool,
) -> RemovableHandle:
    """Calls ``act`` at every step, when its gradients are there: after the closure where the step is given one.

    Args:
        optimizer: It may call the closure several times in a step, and move the weights before each of them, as LBFGS and SAM do.
        act: After each.
        begin: At the beginning of a step with a closure, while the weights are those that the last step left.
        again: Before each call of the closure.
    """

    def hook(_: Optimizer, args: Any, kwargs: Any) -> Any:
        own, *given = args
        closure = kwargs.get("closure", given[0] if given else None)
        if closure is None:
            act()
            return None
        begin()

        def closed() -> Any:
            again()
            value = closure()
            act()
            return value

        return ((own, closed, *given[1:]), kwargs) if given else (args, {**kwargs, "closure": closed})

    return optimizer.register_step_pre_hook(hook)


class Guard:
    """Hooks around an optimizer's steps that keep pruned weights at zero, for masks that may come later."""

    def __init__(self) -> None:
        self._hooks: list[Any] = []

    def bind(
        self, optimizer: Optimizer, masks: Callable[[], Masks | None], *, looked_at: bool = False
    ) -> None:
        """Enforces what ``masks`` gives around every step of ``optimizer`` from now on; None is no mask yet.

        Wherever a step evaluates the loss, the pruned weights are zero; where it begins with gradients, as SAM does, theirs are too,
        unless they are ``looked_at`` by the method once all of the step's are there.
        """
        self.unbind()

        def gradients() -> None:
            if (held := masks()) is not None:
                held.zero_gradients_()

        def weights(*_: object) -> None:
            if (held := masks()) is not None:
                held.zero_weights_()

        def begin() -> None:
            if not looked_at:
                gradients()

        def again() -> None:
            if (held := masks()) is not None:
                held.zero_weights_(unseen=True)  # the closure may be the backward pass alone

        before = before_step(optimizer, gradients, begin=begin, again=again)
        self._hooks = [before, optimizer.register_step_post_hook(weights)]

    def unbind(self) -> None:
        """Stops."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []


class Masks:
    """Boolean masks over parameters, enforced around every optimizer step.

    Before a step the gradients of pruned weights are zeroed, after it and before each evaluation of the loss within it the weights
    themselves are; so zeros survive momentum, weight decay, gradient accumulation, mixed precision, gradient averaging over
    processes, and optimizers that look ahead.

    Args:
        parameters: Name to parameter.
        masks: Name to bool tensor of the same shape; True survives.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], masks: Mapping[str, Tensor]) -> None:
        self._parameters = dict(parameters)
        self._kept = {name: masks[name].to(p.device) for name, p in self._parameters.items()}
        self._guard = Guard()

    @property
    def masks(self) -> dict[str, Tensor]:
        """Name to bool tensor; True survives."""
        return dict(self._kept)

    def replace_(self, masks: Mapping[str, Tensor], optimizer: Optimizer | None) -> None:
        """Takes new masks; weights and optimizer state of what is pruned now become zero."""
        self._kept = {name: masks[name].to(p.device) for name, p in self._parameters.items()}
        self.zero_weights_()
        if optimizer is not None:
            self.zero_state_(optimizer)

    def bind(self, optimizer: Optimizer, *, looked_at: bool = False) -> None:
        """Enforces the masks around every step of ``optimizer`` from now on, see :meth:`Guard.bind`."""
        self._guard.bind(optimizer, lambda: self, looked_at=looked_at)

    def unbind(self) -> None:
        """Stops enforcing the masks."""
        self._guard.unbind()

    @torch.no_grad()
    def zero_gradients_(self) -> None:
        """Zeroes the gradients of pruned weights."""
        for name, parameter in self._parameters.items():
            if parameter.grad is not None:
                parameter.grad.mul_(self._kept[name])  # three times as fast as masked_fill_ on a CPU

    @torch.no_grad()
    def zero_weights_(self, *, unseen: bool = False) -> None:
        """Zeroes the pruned weights; ``unseen`` by torch, so that a graph that they are part of still goes backward."""
        for name, parameter in self._parameters.items():
            (parameter.data if unseen else parameter).mul_(self._kept[name])

    @torch.no_grad()
    def zero_state_(self, optimizer: Optimizer) -> None:
        """Zeroes the optimizer's moments of pruned weights (every state tensor of the weight's shape)."""
        for name, parameter in self._parameters.items():
            for value in optimizer.state.get(parameter, {}).values():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    value.mul_(self._kept[name])


def revived(masks: Masks, weights: Mapping[str, Tensor]) -> str:
    """How many pruned weights are not zero, in a sentence; empty where none is."""
    count = sum(int((weights[name] * ~mask).count_nonzero()) for name, mask in masks.masks.items())
    return f"{count} weights that were pruned are not zero; something trained them besides." if count else ""


def shortfall(masks: Masks | None, weights: Mapping[str, Tensor], density: float, unit: int = 1) -> str:
    """What is missing to the density that was asked, in a sentence; empty where nothing is.

    Args:
        masks: What was decided; None if nothing was.
        weights: Name to weight, as training left it.
        density: Kept fraction asked.
        unit: Weights that can only go together.
    """
    if density == 1.0:
        return ""
    size = sum(weight.numel() for weight in weights.values())
    kept = 1.0 if masks is None else sum(int(m.sum()) for m in masks.masks.values()) / size
    left = sum(int(weight.count_nonzero()) for weight in weights.values()) / size
    if abs(kept - density) > _slack(size, unit):
        return f"density {density} was asked, and {kept:.4f} of the weights are kept."
    if left > kept + 1e-9:
        return f"{round((left - kept) * size)} weights that were pruned are not zero; something trained them besides."
    return ""


def say_idle(method: str, masks: Masks, weights: Mapping[str, Tensor], density: float, unit: int = 1) -> None:
    """Warns where more than one in 200 of the weights that were asked for are zero though they are kept, so that the density is not there.

    Args:
        method: Who prunes, for the message.
        masks: What was decided.
        weights: Name to weight, as training left it.
        density: Kept fraction asked.
        unit: Weights that can only go together.
    """
    size = sum(weight.numel() for weight in weights.values())
    left = sum(int(weight.count_nonzero()) for weight in weights.values()) / size
    if density == 1.0 or density - left <= max(_slack(size, unit), _FEW * density):
        return
    idle = {name: int((mask & (weights[name] == 0)).sum()) for name, mask in masks.masks.items()}
    most = sorted((name for name in idle if idle[name]), key=lambda name: -idle[name])
    layers = ", ".join(f"{name} ({idle[name]})" for name in most[:3]) + (" and others" if most[3:] else "")
    warnings.warn(
        f"{method}: density {density:g} was asked, and {left:.4f} of the weights are not zero: {sum(idle.values())} that are kept are zero "
        f"all the same, in {layers}. They were zero where no gradient comes, or came too late to be trained.",
        stacklevel=2,
    )


def _slack(size: int, unit: int) -> float:
    return max(0.0005, unit / size)  # a density is met to 0.05 percentage points


@torch.no_grad()
def top_masks(scores: Sequence[Tensor], keep: int) -> list[Tensor]:
    """Masks of the ``keep`` highest scores over all tensors together; ties go to the earlier index, exactly.

    Args:
        scores: Tensors of any shapes, larger survives.
        keep: How many survive in all.
    """
    dtypes = [torch.promote_types(score.dtype, torch.float32) for score in scores]
    flat = torch.cat([score.detach().flatten().to(d) for score, d in zip(scores, dtypes, strict=True)])
    if not 0 < keep <= flat.numel():
        raise ValueError(f"keep is {keep}; it must lie in [1, {flat.numel()}], the number of weights.")
    kth = flat.kthvalue(flat.numel() - keep + 1).values
    mask = flat > kth
    ties = (flat == kth).nonzero().flatten()
    mask[ties[: keep - int(mask.sum())]] = True
    return [
        part.view_as(score)
        for part, score in zip(mask.split([s.numel() for s in scores]), scores, strict=True)
    ]
