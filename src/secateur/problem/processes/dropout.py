"""Dropout that draws 15 bits for an element of its mask: torch's draws so much on a processor that small networks wait for it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import handle_torch_function, has_torch_function_unary

_LEVELS = 2**15  # of an int16 that is drawn


def dropout_by_bits(
    input: Tensor,  # noqa: A002 (as torch calls it)
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
) -> Tensor:
    """As ``torch.nn.functional.dropout``; on a processor in a fraction of the time, and ``p`` is rounded to a multiple of 2⁻¹⁵.

    Modes can exchange it as they can torch's: :class:`secateur.problem.processes.in_step.InStep` does.
    """
    if has_torch_function_unary(input):
        return handle_torch_function(dropout_by_bits, (input,), input, p, training, inplace)
    least = round(p * _LEVELS)
    as_torch = inplace or input.device.type != "cpu" or torch.compiler.is_compiling()
    if as_torch or not training or not 0 < least < _LEVELS:
        return F.dropout(input, p, training, inplace)
    kept = torch.empty_like(input, dtype=torch.int16).random_() >= least
    return input * kept.to(input.dtype).mul_(_LEVELS / (_LEVELS - least))


class Dropout(nn.Dropout):
    """As ``torch.nn.Dropout``, with :func:`dropout_by_bits`; masks of one seed are others than torch's."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (as torch calls it)
        """(...) -> (...)."""
        return dropout_by_bits(input, self.p, self.training, self.inplace)
