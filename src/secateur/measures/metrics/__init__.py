"""Metrics of dense prediction, of whole images and of captions, right under any batching and on several processes, and group sparsity."""

from secateur.measures.metrics.accuracy import Accuracy
from secateur.measures.metrics.captions import CaptionScore
from secateur.measures.metrics.cross_entropy import CrossEntropy
from secateur.measures.metrics.depth import DepthError
from secateur.measures.metrics.group_sparsity import GroupSparsity, group_sparsity
from secateur.measures.metrics.less_is_more import CosineSimilarity, ImageIoU
from secateur.measures.metrics.maps import MapError
from secateur.measures.metrics.normals import NormalAngle
from secateur.measures.metrics.segmentation import MeanIoU, PixelAccuracy

__all__ = [
    "Accuracy",
    "CaptionScore",
    "CosineSimilarity",
    "CrossEntropy",
    "DepthError",
    "GroupSparsity",
    "ImageIoU",
    "MapError",
    "MeanIoU",
    "NormalAngle",
    "PixelAccuracy",
    "group_sparsity",
]
