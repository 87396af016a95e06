"""Export: one file that an engine runs, checked against the model before it is called done."""

from secateur.deployment.export.export import Format, describe, export, require

__all__ = [
    "Format",
    "describe",
    "export",
    "require",
]
