"""The shape that survivors take: single weights, N of every M, or blocks. Any score can take any shape."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Pattern:
    """A shape of what survives, in weights of shape (out, in, ...).

    Args:
        rows: Height of a block in output channels.
        columns: Width of a block in input channels.
        of: 0, or M of N:M: at most ``most`` of every M successive input channels survive.
        most: N of N:M.
    """

    rows: int = 1
    columns: int = 1
    of: int = 0
    most: int = 0

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
        return self._sums(score.float()) / self.sizes(score)

    def sizes(self, score: Tensor) -> Tensor:
        """Weights in each block, of the shape of :meth:`pooled`."""
        if not self.blocks:
            return torch.ones_like(score, dtype=torch.float32)
        return self._sums(torch.ones_like(score, dtype=torch.float32))

    def spread(self, mask: Tensor, shape: torch.Size) -> Tensor:
        """A mask of blocks as a mask of weights of ``shape``."""
        wide = mask.repeat_interleave(self.rows, 0).repeat_interleave(self.columns, 1)
        return wide[: shape[0], : shape[1]]

    def _sums(self, value: Tensor) -> Tensor:
        flat = value.flatten(2) if value.dim() > 2 else value.unsqueeze(-1)  # (out, in, kernel)
        padded = F.pad(flat, (0, 0, 0, -value.shape[1] % self.columns, 0, -value.shape[0] % self.rows))
        blocks = padded.unflatten(1, (-1, self.columns)).unflatten(0, (-1, self.rows)).sum((1, 3))
        return blocks.view(blocks.shape[0], blocks.shape[1], *value.shape[2:])


def _channels_last(score: Tensor) -> Tensor:
    return score.movedim(1, -1)


def _channels_back(mask: Tensor, dims: int) -> Tensor:
    return mask.movedim(-1, 1) if dims > 1 else mask
