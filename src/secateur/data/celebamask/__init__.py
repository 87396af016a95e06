"""CelebAMask-HQ: parts of faces and attributes."""

from secateur.data.celebamask.celebamask import celebamask, celebamask_frames

__all__ = [
    "celebamask",
    "celebamask_frames",
]
