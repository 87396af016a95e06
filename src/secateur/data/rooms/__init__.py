"""The built-in rooms: drawn scenes with segmentation, normals and depth; they need no files."""

from secateur.data.rooms.rooms import rooms, rooms_frames

__all__ = [
    "rooms",
    "rooms_frames",
]
