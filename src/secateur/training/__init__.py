"""The only training loop, and what it needs around a step."""

from secateur.training.aggregators import aggregator, of_torchjd
from secateur.training.callbacks import (
    EMA,
    Callback,
    CallbackError,
    ClipGradients,
    Course,
    EarlyStopping,
    KeepBest,
    Snapshots,
)
from secateur.training.distillation import Distillation
from secateur.training.fit import fit
from secateur.training.floors import check_allowed, check_floors, shares_lost
from secateur.training.guests import Guests, check_whole
from secateur.training.history import History
from secateur.training.ledger import Row
from secateur.training.optimizer import MakeOptimizer, adam
from secateur.training.pruning import Pruning
from secateur.training.recalibration import recalibrate
from secateur.training.trackers import BACKENDS, Backend, Tracked, Tracker

__all__ = [
    "BACKENDS",
    "EMA",
    "Backend",
    "Callback",
    "CallbackError",
    "ClipGradients",
    "Course",
    "Distillation",
    "EarlyStopping",
    "Guests",
    "History",
    "KeepBest",
    "MakeOptimizer",
    "Pruning",
    "Row",
    "Snapshots",
    "Tracked",
    "Tracker",
    "adam",
    "aggregator",
    "check_allowed",
    "check_floors",
    "check_whole",
    "fit",
    "of_torchjd",
    "recalibrate",
    "shares_lost",
]
