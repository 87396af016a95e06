"""Data that are read from beginning to end: shards, their order, and batches that resume in mid-epoch."""

from secateur.data.streams.aside import set_aside
from secateur.data.streams.finding import check_no_tars, shards_by_split, shards_of
from secateur.data.streams.frames import streamed_frames
from secateur.data.streams.loading import StreamLoader
from secateur.data.streams.rows import RowShards
from secateur.data.streams.shards import Shards
from secateur.data.streams.streamed import Streamed
from secateur.data.streams.tars import TarShards

__all__ = [
    "RowShards",
    "Shards",
    "StreamLoader",
    "Streamed",
    "TarShards",
    "check_no_tars",
    "set_aside",
    "shards_by_split",
    "shards_of",
    "streamed_frames",
]
