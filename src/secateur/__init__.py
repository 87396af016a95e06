"""Prune one PyTorch network that does several tasks: sparse, small, fast, and as good at every task."""

from secateur.bench import bench
from secateur.compact import compact
from secateur.compaction import compaction
from secateur.components import Components, components
from secateur.cost import cost
from secateur.density import density
from secateur.distillation import Distillation
from secateur.evaluate import evaluate
from secateur.export import export
from secateur.fit import History, fit
from secateur.masked import Masked
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
from secateur.metrics import delta_t
from secateur.optimizer import adam
from secateur.overlap import Overlap, overlap
from secateur.problem import Problem, Task
from secateur.saving import load, save
from secateur.selection import select
from secateur.sparsifier import Sparsifier
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
