"""How the tasks' losses are weighed."""

from secateur.weighting.adaptive import AdaptiveWeighting, adaptive_weights
from secateur.weighting.dynamic_weight_average import DynamicWeightAverage
from secateur.weighting.equal import Equal, Fixed
from secateur.weighting.min_max import MinMax
from secateur.weighting.uncertainty import UncertaintyWeighting
from secateur.weighting.weighting import Weighting, weighed

__all__ = [
    "AdaptiveWeighting",
    "DynamicWeightAverage",
    "Equal",
    "Fixed",
    "MinMax",
    "UncertaintyWeighting",
    "Weighting",
    "adaptive_weights",
    "weighed",
]
