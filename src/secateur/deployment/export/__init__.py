"""Export: one file that an engine runs, checked against the model before it is called done."""

from secateur.deployment.export.calibration import LARGEST_ERROR, LossyError, Quantize
from secateur.deployment.export.export import Format, describe, export, require
from secateur.deployment.export.quantizing import int8_suffix

__all__ = [
    "LARGEST_ERROR",
    "Format",
    "LossyError",
    "Quantize",
    "describe",
    "export",
    "int8_suffix",
    "require",
]
