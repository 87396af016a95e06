"""Pruning methods, one a file."""

from secateur.methods.disparse import DiSparse
from secateur.methods.disparse_dynamic import DiSparseDynamic
from secateur.methods.gradual_magnitude import GradualMagnitude
from secateur.methods.group_lasso import GroupLasso
from secateur.methods.iterative_magnitude import IterativeMagnitude
from secateur.methods.keep_zeros import KeepZeros
from secateur.methods.learned_threshold import LearnedThreshold
from secateur.methods.lottery_ticket import LotteryTicket
from secateur.methods.one_shot import OneShot
from secateur.methods.reweighted_l1 import ReweightedL1
from secateur.methods.rigl import RigL
from secateur.methods.soft_threshold import SoftThreshold
from secateur.pruning import Sparsifier

Dense = Sparsifier

__all__ = [
    "Dense",
    "DiSparse",
    "DiSparseDynamic",
    "GradualMagnitude",
    "GroupLasso",
    "IterativeMagnitude",
    "KeepZeros",
    "LearnedThreshold",
    "LotteryTicket",
    "OneShot",
    "ReweightedL1",
    "RigL",
    "SoftThreshold",
]
