"""Proximal maps of norms, and the step of an optimizer that they follow."""

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
    "of_step",
    "touched",
]
