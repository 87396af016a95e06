"""Sparse files: weights stored as gaps and values, which stock engines rebuild when they load the file."""

from secateur.deployment.sparse.pack import Packed, pack
from secateur.deployment.sparse.rewrite import Rebuilt, Weights, rewrite

__all__ = [
    "Packed",
    "Rebuilt",
    "Weights",
    "pack",
    "rewrite",
]
