"""What is on disk: files written aside, checkpoints, final weights with their manifest. Reading never runs code."""

from secateur.storage.extra import ExtraStates, copied_state, extra_keepers, extra_states, hand_back
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
from secateur.storage.saving import DamagedError, load, manifest, save
from secateur.storage.snapshot import before, load_snapshot, named_tensors, save_snapshot
from secateur.storage.state import lasting_state, network_state, put_back, writable
from secateur.storage.values import finite, is_finite, restore

__all__ = [
    "DamagedError",
    "ExtraStates",
    "RowReader",
    "before",
    "behind",
    "copied_state",
    "extra_keepers",
    "extra_states",
    "finite",
    "folder_aside",
    "hand_back",
    "is_finite",
    "is_leftover",
    "is_locked",
    "kind",
    "lasting_state",
    "load",
    "load_snapshot",
    "load_weights",
    "lock",
    "manifest",
    "mismatches",
    "named_tensors",
    "network_state",
    "put",
    "put_back",
    "remove_leftovers",
    "restore",
    "row_lines",
    "save",
    "save_snapshot",
    "short",
    "temporaries_in",
    "tensors_of",
    "writable",
    "write_aside",
    "write_new",
    "write_text",
]
