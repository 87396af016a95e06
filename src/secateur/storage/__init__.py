"""What is on disk: files written aside, checkpoints, final weights with their manifest. Reading never runs code."""

from secateur.storage.files import write_aside, write_text
from secateur.storage.saving import load, manifest, save
from secateur.storage.snapshot import load_snapshot, named_tensors, restore, save_snapshot

__all__ = [
    "load",
    "load_snapshot",
    "manifest",
    "named_tensors",
    "restore",
    "save",
    "save_snapshot",
    "write_aside",
    "write_text",
]
