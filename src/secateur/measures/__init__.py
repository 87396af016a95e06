"""What a network is worth and what it costs: metrics over a split, parameters and multiply-accumulates, overlap of the tasks, ΔT."""

from secateur.measures import metrics
from secateur.measures.cost import cost, count_macs, group_costs
from secateur.measures.delta import DeltaT, delta_t
from secateur.measures.evaluate import evaluate, higher_is_better
from secateur.measures.layers import layer_rows
from secateur.measures.overlap import Overlap, overlap
from secateur.measures.seeds import LEVEL, Stat, corrected, differs, p_value, stat
from secateur.measures.sensitivity import sensitivity
from secateur.measures.unmoved import DeadTaskWarning, Unmoved, dead_said, unmoved, varied
from secateur.measures.use import Convolution, Use
from secateur.measures.uses import weight_uses

__all__ = [
    "LEVEL",
    "Convolution",
    "DeadTaskWarning",
    "DeltaT",
    "Overlap",
    "Stat",
    "Unmoved",
    "Use",
    "corrected",
    "cost",
    "count_macs",
    "dead_said",
    "delta_t",
    "differs",
    "evaluate",
    "group_costs",
    "higher_is_better",
    "layer_rows",
    "metrics",
    "overlap",
    "p_value",
    "sensitivity",
    "stat",
    "unmoved",
    "varied",
    "weight_uses",
]
