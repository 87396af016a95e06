"""Channels really removed: which live and die together, what goes, and proof that nothing else changed."""

from secateur.shrinking.compact import compact
from secateur.shrinking.compaction import Compaction, compaction, rebuild

__all__ = [
    "Compaction",
    "compact",
    "compaction",
    "rebuild",
]
