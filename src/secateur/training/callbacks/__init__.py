"""What happens beside the steps of a training: stopping early, keeping the best, averages; and what such a thing is."""

from secateur.training.callbacks.average import EMA
from secateur.training.callbacks.callback import Callback
from secateur.training.callbacks.callbacks import CallbackError, Callbacks
from secateur.training.callbacks.clip_gradients import ClipGradients
from secateur.training.callbacks.course import Course
from secateur.training.callbacks.early_stopping import EarlyStopping
from secateur.training.callbacks.keep_best import KeepBest
from secateur.training.callbacks.snapshots import Snapshots

__all__ = [
    "EMA",
    "Callback",
    "CallbackError",
    "Callbacks",
    "ClipGradients",
    "Course",
    "EarlyStopping",
    "KeepBest",
    "Snapshots",
]
