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
    plain = isinstance(input, Tensor)  # pyright: ignore[reportUnnecessaryIsInstance] (torch.fx traces it with a Proxy)
    if plain and has_torch_function_unary(input):
        return handle_torch_function(dropout_by_bits, (input,), input, p, training, inplace)
    least = round(p * _LEVELS)
    drawn = plain and training and not inplace and 0 < least < _LEVELS
    if not drawn or input.device.type != "cpu" or torch.compiler.is_compiling():
        return F.dropout(input, p, training, inplace)
    kept = torch.empty_like(input, dtype=torch.int16).random_() >= least
    return input * kept.to(input.dtype).mul_(_LEVELS / (_LEVELS - least))


class Dropout(nn.Dropout):
    """As ``torch.nn.Dropout``, with :func:`dropout_by_bits`; masks of one seed are others than torch's."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (as torch calls it)
        """(...) -> (...)."""
        if torch.jit.is_scripting():  # pyright: ignore[reportPrivateImportUsage]
            return F.dropout(input, self.p, self.training, self.inplace)
        else:  # noqa: RET505 (what follows a return is scripted all the same)
            return dropout_by_bits(input, self.p, self.training, self.inplace)
