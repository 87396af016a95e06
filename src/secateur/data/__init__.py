"""Data sets, one function each."""

from collections.abc import Callable, Mapping

from torch.utils.data import Dataset

from secateur.data.augment import Sample
from secateur.data.data import Data
from secateur.data.dense import dense_data
from secateur.data.domains import domain_splits, domains
from secateur.data.nyuv2 import nyuv2
from secateur.data.rooms import room_frames, rooms

__all__ = ["Data", "dense_data", "domains", "nyuv2", "rooms"]

FRAMES: dict[str, Callable[..., Mapping[str, Dataset[Sample]]]] = {
    "domains": domain_splits,
    "rooms": room_frames,
}
"""Data set to its samples by split, decoded when asked for; takes the arguments of the data set that concern the files."""
