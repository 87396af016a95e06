"""Repair without training: what a layer lost with its inputs is made up for by those that are left, on a few batches without labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from secateur.problem import Input, Problem, preserved_rng, to_device
from secateur.shrinking import compaction
from secateur.training import recalibrate

_PLACES = 2048  # of a batch, drawn, that a layer's fit looks at
_RIDGE = 1e-3  # of the mean of the Gram matrix's diagonal
_WIDEST = 6000  # inputs times kernel above which a fit takes too long


@torch.no_grad()
def repair(dense: Problem, small: nn.Module, batches: int = 8) -> list[str]:
    """Fits each layer that lost inputs to what the dense network computes there, then BatchNorm's statistics.

    Least squares on what is left of a layer, min ‖W·x_kept − y‖² + λ‖W − W₀‖², with inputs x and outputs y of the dense network (the update
    of ZipLM, arXiv 2302.04089, Eq. 4, with channels already chosen). Seconds for a network of millions of weights.

    Args:
        dense: The network that ``small`` was made of, and data; left as it was.
        small: Of :func:`secateur.compact`; changed in place.
        batches: Training batches to look at; their labels are not used.

    Returns:
        Weights that were fitted.
    """
    if batches < 1:
        raise ValueError(f"repair: batches is {batches}; give at least 1.")
    made = compaction(small)
    kept = {} if made is None else made.kept
    fits = dict(_fits(dense.model, small, kept))
    device = next(dense.model.parameters()).device
    modes = {module: module.training for module in dense.model.modules()}
    draw = torch.Generator().manual_seed(0)
    try:
        with preserved_rng(), ExitStack() as hooks:
            for name, fit in fits.items():
                module = dense.model.get_submodule(name)
                handle = module.register_forward_hook(lambda _, x, y, fit=fit: fit.look(x[0], y, draw))
                hooks.callback(handle.remove)
            network = dense.network
            dense.model.eval()
            for x in _inputs(dense, batches):
                network(to_device(x, device))
    finally:
        for module, training in modes.items():
            module.training = training
    for fit in fits.values():
        fit.solve()
    recalibrate(replace(dense, model=small), batches)
    return list(fits)


def _inputs(problem: Problem, batches: int) -> Iterable[Input]:
    return (x for x, _ in islice(problem.batches(), batches))


def _fits(
    model: nn.Module, small: nn.Module, kept: Mapping[str, Mapping[int, list[int]]]
) -> Iterable[tuple[str, _Fit]]:
    there = dict(small.named_modules())
    for name, module in model.named_modules():
        weight = f"{name}.weight"
        own = there.get(name)
        if (
            not isinstance(module, (nn.Conv2d, nn.Linear))
            or type(own) is not type(module)
            or 1 not in kept.get(weight, {})
        ):
            continue
        cut = len(kept[weight][1]) < module.weight.shape[1]
        if cut and getattr(module, "groups", 1) == 1 and module.weight[0].numel() <= _WIDEST:
            inputs, outputs = kept[weight][1], kept[weight].get(0, list(range(module.weight.shape[0])))
            yield name, _Fit(module, own, inputs, outputs)


class _Fit:
    """The normal equations of one layer."""

    def __init__(self, layer: Any, small: Any, inputs: list[int], outputs: list[int]) -> None:
        self.layer, self.small = layer, small
        self.inputs, self.outputs = torch.tensor(inputs), torch.tensor(outputs)
        size = small.weight[0].numel() + 1  # with a column for the bias
        self.gram = torch.zeros(size, size, dtype=torch.float64)
        self.target = torch.zeros(size, len(outputs), dtype=torch.float64)

    def look(self, x: Tensor, y: Tensor, draw: torch.Generator) -> None:
        """Adds places of one batch, drawn."""
        if isinstance(self.layer, nn.Conv2d):
            x = _padded(self.layer, x.detach()).index_select(1, self.inputs.to(x.device))
            y = y.detach().index_select(1, self.outputs.to(y.device))
            number, _, height, width = y.shape
            place = torch.randint(0, number * height * width, (_PLACES,), generator=draw)
            image, row, column = place // (height * width), place // width % height, place % width
            stride, dilation, kernel = self.layer.stride, self.layer.dilation, self.layer.kernel_size
            rows = row[:, None] * stride[0] + torch.arange(kernel[0]) * dilation[0]
            columns = column[:, None] * stride[1] + torch.arange(kernel[1]) * dilation[1]
            patch = x[image[:, None, None], :, rows[:, :, None], columns[:, None, :]]  # (places, k, k, in)
            seen, wanted = patch.permute(0, 3, 1, 2).flatten(1), y[image, :, row, column]
        else:
            x, y = x.detach().flatten(0, -2), y.detach().flatten(0, -2)
            place = torch.randint(0, len(x), (min(_PLACES, 4 * len(x)),), generator=draw)
            seen, wanted = x[place][:, self.inputs], y[place][:, self.outputs]
        seen = torch.cat([seen.double().cpu(), torch.ones(len(seen), 1, dtype=torch.float64)], 1)
        self.gram += seen.T @ seen
        self.target += seen.T @ wanted.double().cpu()

    def solve(self) -> None:
        """Puts the fitted weight, and the bias where there is one, into the small layer."""
        weight = self.small.weight
        start = weight.detach().double().flatten(1).cpu().T
        bias = self.small.bias
        first = (
            torch.zeros(1, start.shape[1], dtype=torch.float64)
            if bias is None
            else bias.detach().double().cpu()[None]
        )
        ridge = _RIDGE * self.gram.diagonal().mean()
        gram, target = self.gram, self.target
        if bias is None:
            gram, target = gram[:-1, :-1], target[:-1]
            found = torch.linalg.solve(
                gram + ridge * torch.eye(len(gram), dtype=torch.float64), target + ridge * start
            )
        else:
            found = torch.linalg.solve(
                gram + ridge * torch.eye(len(gram), dtype=torch.float64),
                target + ridge * torch.cat([start, first]),
            )
        if not bool(found.isfinite().all()):
            return
        weight.copy_(found[: start.shape[0]].T.reshape(weight.shape))
        if bias is not None:
            bias.copy_(found[-1])


def _padded(layer: nn.Conv2d, x: Tensor) -> Tensor:
    around = layer._reversed_padding_repeated_twice  # pyright: ignore[reportPrivateUsage]
    return F.pad(x, around, mode="constant" if layer.padding_mode == "zeros" else layer.padding_mode)
