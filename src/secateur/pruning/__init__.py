"""What methods are made of: scores, selection, distributions, patterns, levels, masks, thresholds, proximal maps, groups."""

from secateur.pruning import prox, schedules, scores
from secateur.pruning.allocation import cost_offsets, marginal_cost, scale_offset
from secateur.pruning.block_levels import BlockThreshold
from secateur.pruning.density import Density, DensityError, density, weight
from secateur.pruning.distribution import Distribution, Quotas
from secateur.pruning.effective import (
    Effect,
    attach,
    check_done,
    check_plain,
    compute_once,
    detach,
    is_effective,
)
from secateur.pruning.groups import (
    Groups,
    all_weights,
    input_groups,
    shared_convolutions,
    wide,
)
from secateur.pruning.levels import ExactThreshold, check_guard, strongest
from secateur.pruning.masked import AtOnce, InRounds, Masked, check_share, magnitudes
from secateur.pruning.masks import Guard, Masks, before_step, revived, shortfall, top_masks
from secateur.pruning.passes import check_slopes, losses
from secateur.pruning.pattern import Pattern
from secateur.pruning.prox import adam_metric, group_prox, l1_prox
from secateur.pruning.regrowth import drop_share, dropped, top
from secateur.pruning.schedules import (
    Schedule,
    WarmUp,
    check_cycles,
    check_density,
    check_ramp,
    constant,
    cosine,
    cubic_density,
    cyclic_density,
    staircase,
)
from secateur.pruning.scores import Scores, task_scores
from secateur.pruning.selection import say_large, select, share, survivors
from secateur.pruning.sparsifier import Sparsifier, groups_of, lacking
from secateur.pruning.threshold import Form, Shrinkage, soft_threshold
from secateur.pruning.thresholded import Thresholded, bake
from secateur.pruning.ties import check_worth

__all__ = [
    "AtOnce",
    "BlockThreshold",
    "Density",
    "DensityError",
    "Distribution",
    "Effect",
    "ExactThreshold",
    "Form",
    "Groups",
    "Guard",
    "InRounds",
    "Masked",
    "Masks",
    "Pattern",
    "Quotas",
    "Schedule",
    "Scores",
    "Shrinkage",
    "Sparsifier",
    "Thresholded",
    "WarmUp",
    "adam_metric",
    "all_weights",
    "attach",
    "bake",
    "before_step",
    "check_cycles",
    "check_density",
    "check_done",
    "check_guard",
    "check_plain",
    "check_ramp",
    "check_share",
    "check_slopes",
    "check_worth",
    "compute_once",
    "constant",
    "cosine",
    "cost_offsets",
    "cubic_density",
    "cyclic_density",
    "density",
    "detach",
    "drop_share",
    "dropped",
    "group_prox",
    "groups_of",
    "input_groups",
    "is_effective",
    "l1_prox",
    "lacking",
    "losses",
    "magnitudes",
    "marginal_cost",
    "prox",
    "revived",
    "say_large",
    "scale_offset",
    "schedules",
    "scores",
    "select",
    "share",
    "shared_convolutions",
    "shortfall",
    "soft_threshold",
    "staircase",
    "strongest",
    "survivors",
    "task_scores",
    "top",
    "top_masks",
    "weight",
    "wide",
]
