"""Metrics of dense prediction tasks, right under any batching and on several processes, and ΔT."""

from secateur.metrics.delta import DeltaT, delta_t
from secateur.metrics.depth import DepthError
from secateur.metrics.maps import MapError
from secateur.metrics.normals import NormalAngle
from secateur.metrics.segmentation import MeanIoU, PixelAccuracy

__all__ = ["DeltaT", "DepthError", "MapError", "MeanIoU", "NormalAngle", "PixelAccuracy", "delta_t"]
