"""Trainings shown while they run, in TensorBoard, Trackio, Weights & Biases or MLflow; one file each."""

from secateur.training.trackers.backend import Backend, Tracked
from secateur.training.trackers.tracker import BACKENDS, Tracker

__all__ = ["BACKENDS", "Backend", "Tracked", "Tracker"]
