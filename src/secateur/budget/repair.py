"""Repair without training: what a layer lost with its inputs is made up for by those that are left, on a few batches without labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from secateur.problem import Input, Problem, check_count, looking, to_device
from secateur.shrinking import compaction
from secateur.training import recalibrate

_PLACES = 2048  # of a batch, drawn, that a layer's fit looks at
_RIDGE = 1e-3  # of the mean of the Gram matrix's diagonal
_WIDEST = 6000  # inputs times kernel above which a fit takes too long


@torch.no_grad()
def repair(dense: Problem, small: nn.Module, batches: int = 8) -> list[str]:
    """Fits each layer that lost inputs to what the dense network computes there, then BatchNorm's statistics.

    A fourth of the batches is held out (one of two or three; none of one): a layer whose fit is no better on them stays as it was, and so does
    a frozen layer.

    Least squares on what is left of a layer, min ‖W·x_kept − y‖² + λ‖W − W₀‖², with inputs x and outputs y of the dense network (the update
    of ZipLM, arXiv 2302.04089, Eq. 4, with channels already chosen). Seconds for a network of millions of weights.

    Args:
        dense: The network that ``small`` was made of, and data; left as it was.
        small: Of :func:`secateur.compact`; changed in place.
        batches: Training batches to look at; their labels are not used.

    Returns:
        Layers that were fitted.
    """
    check_count("repair: batches", batches)
    made = compaction(small)
    kept = {} if made is None else _within(dense.model, made.kept)
    fits = dict(_fits(dense.model, small, kept))
    device = next(dense.model.parameters()).device
    draw = torch.Generator().manual_seed(0)
    with looking(dense.model), ExitStack() as hooks:
        for name, fit in fits.items():
            module = dense.model.get_submodule(name)
            handle = module.register_forward_hook(
                lambda _, x, named, y, fit=fit: fit.look(x[0] if x else named["input"], y, draw, held),
                with_kwargs=True,
            )
            hooks.callback(handle.remove)
        network = dense.network
        dense.model.eval()
        for number, x in enumerate(_inputs(dense, batches)):
            held = number % 4 == min(batches - 1, 3) and batches > 1
            network(to_device(x, device))
    fitted = [name for name, fit in fits.items() if fit.solve()]
    recalibrate(replace(dense, model=small), batches)
    return fitted


def _inputs(problem: Problem, batches: int) -> Iterable[Input]:
    return (x for x, _ in islice(problem.batches(), batches))


def _within(dense: nn.Module, kept: Mapping[str, Mapping[int, list[int]]]) -> dict[str, dict[int, list[int]]]:
    """What is left, counted in ``dense``, which may be cut itself; a record counts in the network before all cuts."""
    before = compaction(dense)
    if before is None:
        return {name: dict(axes) for name, axes in kept.items()}
    found: dict[str, dict[int, list[int]]] = {}
    for name, axes in kept.items():
        for axis, ids in axes.items():
            place = {
                old: new
                for new, old in enumerate(
                    before.kept.get(name, {}).get(axis, range(max(ids, default=-1) + 1))
                )
            }
            found.setdefault(name, {})[axis] = [place[old] for old in ids]
    return found


def _fits(
    model: nn.Module, small: nn.Module, kept: Mapping[str, Mapping[int, list[int]]]
) -> Iterable[tuple[str, _Fit]]:
    there = dict(small.named_modules())
    names = Counter(id(parameter) for _, parameter in model.named_parameters(remove_duplicate=False))
    for name, module in model.named_modules():
        weight = f"{name}.weight"
        own = there.get(name)
        if (
            not isinstance(module, (nn.Conv2d, nn.Linear))
            or type(own) is not type(module)
            or 1 not in kept.get(weight, {})
            or names[id(module.weight)] > 1  # tied: what fits one of its places spoils the other
            or not all(one.requires_grad for one in module.parameters())
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
        self.gram, self.held_gram = torch.zeros(2, size, size, dtype=torch.float64)
        self.target, self.held_target = torch.zeros(2, size, len(outputs), dtype=torch.float64)

    def look(self, x: Tensor, y: Tensor, draw: torch.Generator, held: bool) -> None:
        """Adds places of one batch, drawn, to what is fitted or to what is ``held`` out."""
        places = self._patches if isinstance(self.layer, nn.Conv2d) else self._rows
        seen, wanted = places(x.detach(), y.detach(), draw)
        seen = torch.cat([seen.double().cpu(), torch.ones(len(seen), 1, dtype=torch.float64)], 1)
        (self.held_gram if held else self.gram).add_(seen.T @ seen)
        (self.held_target if held else self.target).add_(seen.T @ wanted.double().cpu())

    def _patches(self, x: Tensor, y: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        """Places of a convolution: what the kernel sees there, (places, in·k·k), and what comes out, (places, out)."""
        x = _padded(self.layer, x).index_select(1, self.inputs.to(x.device))
        y = y.index_select(1, self.outputs.to(y.device))
        number, _, height, width = y.shape
        place = torch.randint(0, number * height * width, (_PLACES,), generator=draw)
        image, row, column = place // (height * width), place // width % height, place % width
        stride, dilation, kernel = self.layer.stride, self.layer.dilation, self.layer.kernel_size
        rows = row[:, None] * stride[0] + torch.arange(kernel[0]) * dilation[0]
        columns = column[:, None] * stride[1] + torch.arange(kernel[1]) * dilation[1]
        patch = x[image[:, None, None], :, rows[:, :, None], columns[:, None, :]]  # (places, k, k, in)
        return patch.permute(0, 3, 1, 2).flatten(1), y[image, :, row, column]

    def _rows(self, x: Tensor, y: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        """Places of a linear layer: (places, in) and (places, out)."""
        x, y = x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])
        place = torch.randint(0, len(x), (min(_PLACES, 4 * len(x)),), generator=draw)
        return x[place][:, self.inputs], y[place][:, self.outputs]

    def solve(self) -> bool:
        """Puts the fitted weight, and the bias where there is one, into the small layer, if that is better on what was held out."""
        ridge = _RIDGE * self.gram.diagonal().mean()
        if not bool(ridge > 0):  # never called as a module, or nothing finite came
            return False
        weight, bias = self.small.weight, self.small.bias
        start = weight.detach().double().flatten(1).cpu().T
        rows = len(start)
        if bias is not None:
            start = torch.cat([start, bias.detach().double().cpu()[None]])
        size = len(start)
        gram, target = self.gram[:size, :size], self.target[:size]
        found = torch.linalg.solve(
            gram + ridge * torch.eye(size, dtype=torch.float64), target + ridge * start
        )
        if not bool(found.isfinite().all()) or self._missed(found) > self._missed(start):
            return False
        weight.copy_(found[:rows].T.reshape(weight.shape))
        if bias is not None:
            bias.copy_(found[-1])
        return True

    def _missed(self, weight: Tensor) -> float:
        """Squared error of ``weight``, (inputs, outputs), on what was held out, less that of zero."""
        size = len(weight)
        gram, target = self.held_gram[:size, :size], self.held_target[:size]
        return float((weight * (gram @ weight - 2 * target)).sum())


def _padded(layer: nn.Conv2d, x: Tensor) -> Tensor:
    around = layer._reversed_padding_repeated_twice  # pyright: ignore[reportPrivateUsage]
    return F.pad(x, around, mode="constant" if layer.padding_mode == "zeros" else layer.padding_mode)
