"""Channels really removed: which live and die together, what goes, and proof that nothing else changed."""

from secateur.shrinking.compact import compact
from secateur.shrinking.compaction import Compaction, compaction, rebuild
from secateur.shrinking.copying import copied, plain
from secateur.shrinking.coupled import coupled_groups, default_groups, problem_groups
from secateur.shrinking.names import check_values, unwrapped
from secateur.shrinking.partition import fewest

__all__ = [
    "Compaction",
    "check_values",
    "compact",
    "compaction",
    "copied",
    "coupled_groups",
    "default_groups",
    "fewest",
    "plain",
    "problem_groups",
    "rebuild",
    "unwrapped",
]
