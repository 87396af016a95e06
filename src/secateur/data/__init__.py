"""Data sets, one function each."""

from secateur.data.data import Data
from secateur.data.dense import dense_data
from secateur.data.domains import domains
from secateur.data.nyuv2 import nyuv2
from secateur.data.rooms import rooms

__all__ = ["Data", "dense_data", "domains", "nyuv2", "rooms"]
