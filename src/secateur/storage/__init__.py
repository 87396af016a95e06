"""What is on disk: files written aside, checkpoints, final weights with their manifest. Reading never runs code."""

from secateur.storage.extra import ExtraStates
from secateur.storage.files import (
    behind,
    folder_aside,
    is_leftover,
    put,
    remove_leftovers,
    temporaries_in,
    write_aside,
    write_new,
    write_text,
)
from secateur.storage.foreign import load_weights
from secateur.storage.locks import is_locked, lock
from secateur.storage.outline import kind, mismatches, short, tensors_of
from secateur.storage.rows import RowReader, row_lines
from secateur.storage.saving import load, manifest, save
from secateur.storage.snapshot import before, load_snapshot, named_tensors, save_snapshot
from secateur.storage.values import restore

__all__ = [
    "ExtraStates",
    "RowReader",
    "before",
    "behind",
    "folder_aside",
    "is_leftover",
    "is_locked",
    "kind",
    "load",
    "load_snapshot",
    "load_weights",
    "lock",
    "manifest",
    "mismatches",
    "named_tensors",
    "put",
    "remove_leftovers",
    "restore",
    "row_lines",
    "save",
    "save_snapshot",
    "short",
    "temporaries_in",
    "tensors_of",
    "write_aside",
    "write_new",
    "write_text",
]
