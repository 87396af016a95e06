"""Prune one PyTorch network that does several tasks: sparse, small, fast, and as good at every task."""

from secateur.components import Components, components
from secateur.cost import cost
from secateur.density import density
from secateur.evaluate import evaluate
from secateur.fit import History, adam, fit
from secateur.methods import Dense, GradualMagnitude, LearnedThreshold, SoftThreshold
from secateur.metrics import delta_t
from secateur.problem import Problem, Task
from secateur.saving import load, save
from secateur.sparsifier import Sparsifier
from secateur.weighting import AdaptiveWeighting, Equal, Fixed, Weighting

__all__ = [
    "AdaptiveWeighting",
    "Components",
    "Dense",
    "Equal",
    "Fixed",
    "GradualMagnitude",
    "History",
    "LearnedThreshold",
    "Problem",
    "SoftThreshold",
    "Sparsifier",
    "Task",
    "Weighting",
    "adam",
    "components",
    "cost",
    "delta_t",
    "density",
    "evaluate",
    "fit",
    "load",
    "save",
]
