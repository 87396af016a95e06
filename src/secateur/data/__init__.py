"""Data sets, one function each."""

from secateur.data.captions import captions
from secateur.data.data import Data
from secateur.data.dense import dense_data
from secateur.data.nyuv2 import nyuv2
from secateur.data.rooms import rooms
from secateur.data.stories import stories

__all__ = ["Data", "captions", "dense_data", "nyuv2", "rooms", "stories"]
