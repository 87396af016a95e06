"""Transformer layers of plain linear maps, so that whole heads and hidden units can be removed (Vaswani et al. 2017)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from secateur.problem import Dropout


class Attention(nn.Module):
    """Multi-head attention with a linear layer each for queries, keys, values and output.

    Args:
        width: Channels of what goes in and comes out; a multiple of ``heads``.
        heads: How many.
        dropout: Of the scores.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.head_width = width // heads  # stays; how many heads there are is read off the weights
        self.dropout = dropout

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        """Each place of ``x`` looks at ``context``.

        Args:
            x: (N, T, width).
            context: (N, S, width); ``x`` itself for self-attention.
            mask: bool, broadcast to (N, heads, T, S); True where a place may look.
            causal: A place sees itself and those before it only; instead of a mask.

        Returns:
            (N, T, width).
        """
        query, key, value = self.query(x), self.key(context), self.value(context)
        dropout = self.dropout if self.training else 0.0
        found = F.scaled_dot_product_attention(
            self._heads(query), self._heads(key), self._heads(value), mask, dropout, is_causal=causal
        )
        return self.out(found.transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_width)).transpose(1, 2)  # (N, heads, T, head width)


class FeedForward(nn.Sequential):
    """Two linear layers, each place for itself.

    Args:
        width: Channels of what goes in and comes out.
        hidden: Units between.
        dropout: Of the hidden units.
    """

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__(nn.Linear(width, hidden), nn.GELU(), Dropout(dropout), nn.Linear(hidden, width))


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each normalised before and added to what came in (pre-norm)."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads, dropout)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, hidden, dropout)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(N, T, width) and a mask of :class:`Attention` -> (N, T, width)."""
        y = self.attention_norm(x)
        x = x + self.dropout(self.attention(y, y, mask))
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))


class DecoderLayer(nn.Module):
    """Causal self-attention, attention to what was encoded, feed-forward; each normalised before (pre-norm)."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads, dropout)
        self.cross_norm = nn.LayerNorm(width)
        self.cross = Attention(width, heads, dropout)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, hidden, dropout)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        """(N, T, width), encoded (N, S, width) and a mask of places of the latter -> (N, T, width)."""
        y = self.attention_norm(x)
        x = x + self.dropout(self.attention(y, y, causal=True))
        x = x + self.dropout(self.cross(self.cross_norm(x), context, mask))
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))


def positions(length: int, width: int, like: Tensor) -> Tensor:
    """Sines and cosines of the place, (length, width), of the dtype and on the device of ``like``; for any length."""
    wide = torch.promote_types(like.dtype, torch.float32)  # in half precision neighbours would look alike
    place = torch.arange(length, device=like.device).to(wide)[:, None]
    rates = torch.arange(width // 2, device=like.device).to(wide) * (-2 * math.log(1e4) / width)
    angle = place * rates.exp()
    return torch.cat([angle.sin(), angle.cos()], -1).to(like.dtype)
