"""Clips with a caption of each kind: Tiny-ActivityNet style features, and stories that need no files."""

from secateur.data.captions.captions import captions, captions_frames
from secateur.data.captions.stories import stories, stories_frames

__all__ = [
    "captions",
    "captions_frames",
    "stories",
    "stories_frames",
]
