"""The shape that survivors take: single weights, N of every M, or blocks; and which blocks. Any score can take any shape."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.conv import _ConvTransposeNd  # pyright: ignore[reportPrivateUsage]

from secateur.problem import check_count


@dataclass(frozen=True)
class Pattern:
    """A shape of what survives, in weights of shape (out, in, ...).

    A weight is (outputs, inputs, ...), as that of convolutions and linear layers; of a transposed convolution, which is (inputs, outputs, ...),
    outputs and inputs change places, and :func:`say_turned` says so.

    Args:
        rows: Height of a block in output channels.
        columns: Width of a block in input channels.
        of: 0, or M of N:M: at most ``most`` of every M successive input channels survive.
        most: N of N:M.

    Raises:
        ValueError: If these are no pattern.
    """

    rows: int = 1
    columns: int = 1
    of: int = 0
    most: int = 0

    def __post_init__(self) -> None:
        for name, least in (("rows", 1), ("columns", 1), ("of", 0), ("most", 0)):
            check_count(f"Pattern: {name}", getattr(self, name), least)
        if (self.of or self.most) and (self.blocks or not 0 < self.most < self.of):
            raise ValueError(f"{self} is neither a block nor N:M; give rows and columns, or 0 < most < of.")

    @staticmethod
    def parse(text: str) -> Pattern:
        """``"unstructured"``, ``"N:M"`` such as ``"2:4"``, or ``"RxC"`` such as ``"1x4"``: R output by C input channels.

        Raises:
            ValueError: If it is written otherwise.
        """
        if text == "unstructured":
            return Pattern()
        found = re.fullmatch(r"([1-9]\d*)([:x])([1-9]\d*)", text)
        if found and found[2] == "x":
            return Pattern(rows=int(found[1]), columns=int(found[3]))
        if found and int(found[1]) < int(found[3]):
            return Pattern(of=int(found[3]), most=int(found[1]))
        raise ValueError(
            f"pattern is {text!r}; give 'unstructured', 'N:M' with N < M such as '2:4', or a block such as '1x4'."
        )

    @property
    def blocks(self) -> bool:
        """Whether whole blocks survive, and not single weights."""
        return self.rows > 1 or self.columns > 1

    @property
    def unit(self) -> int:
        """Weights of a whole block, which only go together; 1 where single weights survive."""
        return self.rows * self.columns

    @property
    def densest(self) -> float:
        """The density that every weight can have under it: N/M, or 1 where there is no N:M."""
        return self.most / self.of if self.of else 1.0

    def allowed(self, score: Tensor) -> Tensor:
        """True where the pattern lets a weight survive: the best N of every M; everything where there is no N:M."""
        if not self.of:
            return torch.ones_like(score, dtype=torch.bool)
        flat = _channels_last(score)  # (out, kernel..., in)
        width = flat.shape[-1]
        padded = F.pad(flat.float(), (0, -width % self.of), value=-torch.inf)
        groups = padded.unflatten(-1, (-1, self.of))
        best = torch.zeros_like(groups, dtype=torch.bool)
        best.scatter_(-1, groups.topk(self.most, dim=-1).indices, True)
        return _channels_back(best.flatten(-2)[..., :width], score.dim())

    def pooled(self, score: Tensor) -> Tensor:
        """Mean score of each block, (out blocks, in blocks, ...); a block at the border is as small as what is left."""
        if not self.blocks:
            return score
        return self.sums(score.float()) / self.sizes(score)

    def magnitude(self, weight: Tensor) -> Tensor:
        """Root mean square of each block's weights, of the shape of :meth:`pooled`; of single weights |w|.

        Half precision is pooled in float32. Where all weights of a block are zero it is tiny, so that it has a gradient.
        """
        if not self.blocks:
            return weight.abs()
        wide = weight.to(torch.promote_types(weight.dtype, torch.float32))
        sizes = self.sizes(wide) if self._ragged(weight.shape) else self.unit
        return (self.sums(wide.square()) / sizes).clamp(min=torch.finfo(wide.dtype).tiny).sqrt()

    def sums(self, value: Tensor) -> Tensor:
        """Sum over each block, of the shape of :meth:`pooled`."""
        return self._folded(value).sum((1, 3)) if self.blocks else value

    def sizes(self, score: Tensor) -> Tensor:
        """Weights in each block, of the shape of :meth:`pooled`."""
        if not self.blocks:
            return torch.ones_like(score, dtype=torch.float32)
        return self.sums(torch.ones_like(score, dtype=torch.float32))

    def largest(self, shape: torch.Size) -> int:
        """Weights in the largest block of a weight of ``shape``."""
        return min(self.rows, shape[0]) * min(self.columns, shape[1]) if self.blocks else 1

    def spread(self, mask: Tensor, shape: torch.Size) -> Tensor:
        """A value for each block as a value for each weight of ``shape``: a mask, a factor."""
        if not self.blocks:
            return mask
        wide = mask.repeat_interleave(self.rows, 0).repeat_interleave(self.columns, 1)
        return wide[: shape[0], : shape[1]]

    def scaled(self, weight: Tensor, factor: Tensor) -> Tensor:
        """Each weight times the factor of its block, of the weight's shape and dtype."""
        if not self.blocks or self._ragged(weight.shape):
            return (weight * self.spread(factor, weight.shape)).to(weight.dtype)
        made = self._folded(weight) * factor.unsqueeze(2).unsqueeze(1)
        return made.flatten(2, 3).flatten(0, 1).to(weight.dtype)

    def _ragged(self, shape: torch.Size) -> bool:
        """Whether blocks at the border are smaller."""
        return bool(shape[0] % self.rows or shape[1] % self.columns)

    def _folded(self, value: Tensor) -> Tensor:
        """(out blocks, rows, in blocks, columns, ...): a view, or where blocks at the border are smaller, filled up with 0."""
        if self._ragged(value.shape):
            flat = value.flatten(2) if value.dim() > 2 else value.unsqueeze(-1)  # (out, in, kernel)
            flat = F.pad(flat, (0, 0, 0, -value.shape[1] % self.columns, 0, -value.shape[0] % self.rows))
            value = flat.view(*flat.shape[:2], *value.shape[2:])
        return value.unflatten(1, (-1, self.columns)).unflatten(0, (-1, self.rows))


def say_turned(method: str, model: nn.Module, weights: Iterable[str], pattern: Pattern) -> None:
    """Warns where inputs and outputs are not alike to ``pattern``, and some of ``weights`` are of transposed convolutions."""
    turned = {f"{n}.weight" for n, m in model.named_modules() if isinstance(m, _ConvTransposeNd)}
    found = [name for name in weights if name in turned]
    if found and (pattern.of or pattern.rows != pattern.columns):
        layers = ", ".join(found[:3]) + (" and others" if found[3:] else "")
        warnings.warn(
            f"{method}: the weight of a transposed convolution is (inputs, outputs, ...), so that in {layers} the pattern lies along the other axis: "
            "what it says of outputs holds for inputs. Freeze these weights, requires_grad_(False), where that is of no use.",
            stacklevel=4,
        )


def first_blocks(worth: Tensor, sizes: Tensor, at_least: int) -> Tensor:
    """True for the best blocks of a layer, as few of them as hold ``at_least`` weights.

    Args:
        worth: Of each block, any shape.
        sizes: Weights in each block, of the same shape.
        at_least: Weights; all blocks where the layer has no more.
    """
    first = worth.flatten().topk(min(at_least, worth.numel())).indices
    size = sizes.flatten()[first]
    chosen = torch.zeros(worth.numel(), dtype=torch.bool, device=worth.device)
    chosen[first] = size.cumsum(0) - size < at_least
    return chosen.view_as(worth)


def best_blocks(worth: Sequence[Tensor], sizes: Sequence[Tensor], keep: float) -> list[Tensor]:
    """True for the best blocks over all layers together, which hold ``keep`` weights to within half a block; at least one.

    Args:
        worth: Of each block of each layer, any shapes; what is infinite stays whatever happens. Ties go to the earlier place.
        sizes: Weights in each block, of the same shapes.
        keep: Weights.
    """
    flat = torch.cat([w.flatten() for w in worth])
    size = torch.cat([s.flatten() for s in sizes]).double()  # counts beyond 2^24 stay exact
    order = flat.argsort(descending=True, stable=True)
    filled = size[order].cumsum(0)
    mask = torch.zeros_like(flat, dtype=torch.bool)
    mask[order[: max(1, int((filled - size[order] / 2 < keep).sum()))]] = True  # the last block by its half
    mask |= flat == torch.inf
    return [part.view_as(w) for part, w in zip(mask.split([w.numel() for w in worth]), worth, strict=True)]


def _channels_last(score: Tensor) -> Tensor:
    return score.movedim(1, -1)


def _channels_back(mask: Tensor, dims: int) -> Tensor:
    return mask.movedim(-1, 1) if dims > 1 else mask
