"""Engines: an exported file as a function from NumPy arrays to NumPy arrays, whichever engine runs it."""

from secateur.engines.engine import Engine, EngineMissingError, Precision, load_engine

__all__ = ["Engine", "EngineMissingError", "Precision", "load_engine"]
