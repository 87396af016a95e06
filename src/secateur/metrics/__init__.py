"""Metrics of dense prediction, of whole images and of captions, right under any batching and on several processes, ΔT, and group sparsity."""

from secateur.metrics.accuracy import Accuracy
from secateur.metrics.captions import CaptionScore
from secateur.metrics.cross_entropy import CrossEntropy
from secateur.metrics.delta import DeltaT, delta_t
from secateur.metrics.depth import DepthError
from secateur.metrics.group_sparsity import GroupSparsity, group_sparsity
from secateur.metrics.less_is_more import CosineSimilarity, ImageIoU
from secateur.metrics.maps import MapError
from secateur.metrics.normals import NormalAngle
from secateur.metrics.segmentation import MeanIoU, PixelAccuracy

__all__ = [
    "Accuracy",
    "CaptionScore",
    "CosineSimilarity",
    "CrossEntropy",
    "DeltaT",
    "DepthError",
    "GroupSparsity",
    "ImageIoU",
    "MapError",
    "MeanIoU",
    "NormalAngle",
    "PixelAccuracy",
    "delta_t",
    "group_sparsity",
]
