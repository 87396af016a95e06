"""Values: which elements of a trace are constant whatever the input, and constants folded on."""

from secateur.shrinking.channels.values.constant import (
    constant_outputs,
    constant_values,
    nothing_known,
    zeros_alone,
)
from secateur.shrinking.channels.values.fixed import fixed_values
from secateur.shrinking.channels.values.fold import fold_constants
from secateur.shrinking.channels.values.pointwise import Values
from secateur.shrinking.channels.values.weighted import channel_values, kernel_sums

__all__ = [
    "Values",
    "channel_values",
    "constant_outputs",
    "constant_values",
    "fixed_values",
    "fold_constants",
    "kernel_sums",
    "nothing_known",
    "zeros_alone",
]
