"""Proximal maps of norms, and the step of an optimizer that they follow; what that keeps is asked of it."""

from secateur.pruning.prox.asked import lacking_moments, part_of, state_after_step
from secateur.pruning.prox.maps import euclidean_prox, group_prox, l1_prox
from secateur.pruning.prox.step import Step, adam_metric, at_rates, descend, has_moved, of_step, touched

__all__ = [
    "Step",
    "adam_metric",
    "at_rates",
    "descend",
    "euclidean_prox",
    "group_prox",
    "has_moved",
    "l1_prox",
    "lacking_moments",
    "of_step",
    "part_of",
    "state_after_step",
    "touched",
]
