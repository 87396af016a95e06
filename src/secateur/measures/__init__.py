"""What a network is worth and what it costs: metrics over a split, parameters and multiply-accumulates, overlap of the tasks."""

from secateur.measures.cost import cost, count_macs, group_costs
from secateur.measures.evaluate import evaluate, higher_is_better
from secateur.measures.overlap import Overlap, overlap

__all__ = [
    "Overlap",
    "cost",
    "count_macs",
    "evaluate",
    "group_costs",
    "higher_is_better",
    "overlap",
]
