"""Prune one PyTorch network that does several tasks: sparse, small, fast, and as good at every task."""

from secateur.deployment.bench import bench
from secateur.deployment.export import export
from secateur.measures import Overlap, cost, delta_t, evaluate, overlap
from secateur.methods import (
    Dense,
    DiSparse,
    DiSparseDynamic,
    GradualMagnitude,
    GroupLasso,
    IterativeMagnitude,
    LearnedThreshold,
    LotteryTicket,
    OneShot,
    RigL,
    SoftThreshold,
)
from secateur.problem import Components, Problem, Task, components
from secateur.pruning import Masked, Sparsifier, density, select
from secateur.shrinking import compact, compaction
from secateur.storage import load, save
from secateur.training import Distillation, History, adam, fit
from secateur.weighting import (
    AdaptiveWeighting,
    DynamicWeightAverage,
    Equal,
    Fixed,
    UncertaintyWeighting,
    Weighting,
)

__all__ = [
    "AdaptiveWeighting",
    "Components",
    "Dense",
    "DiSparse",
    "DiSparseDynamic",
    "Distillation",
    "DynamicWeightAverage",
    "Equal",
    "Fixed",
    "GradualMagnitude",
    "GroupLasso",
    "History",
    "IterativeMagnitude",
    "LearnedThreshold",
    "LotteryTicket",
    "Masked",
    "OneShot",
    "Overlap",
    "Problem",
    "RigL",
    "SoftThreshold",
    "Sparsifier",
    "Task",
    "UncertaintyWeighting",
    "Weighting",
    "adam",
    "bench",
    "compact",
    "compaction",
    "components",
    "cost",
    "delta_t",
    "density",
    "evaluate",
    "export",
    "fit",
    "load",
    "overlap",
    "save",
    "select",
]
