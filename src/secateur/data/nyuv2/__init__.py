"""NYU-v2 in the layouts that papers use."""

from secateur.data.nyuv2.nyuv2 import nyuv2, nyuv2_frames

__all__ = [
    "nyuv2",
    "nyuv2_frames",
]
