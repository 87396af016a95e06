"""Pruning methods, one a file."""

from secateur.methods.gradual_magnitude import GradualMagnitude
from secateur.methods.group_lasso import GroupLasso
from secateur.methods.learned_threshold import LearnedThreshold
from secateur.methods.soft_threshold import SoftThreshold
from secateur.sparsifier import Sparsifier

Dense = Sparsifier

__all__ = ["Dense", "GradualMagnitude", "GroupLasso", "LearnedThreshold", "SoftThreshold"]
