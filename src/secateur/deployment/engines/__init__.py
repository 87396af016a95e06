"""Engines: an exported file as a function from NumPy arrays to NumPy arrays, whichever engine runs it."""

from secateur.deployment.engines.by_layer import OTHER, PROFILED, layer_times
from secateur.deployment.engines.engine import (
    KEY,
    Engine,
    EngineMissingError,
    Precision,
    UnreadableError,
    check_settings,
    load_engine,
    need,
    quiet,
)
from secateur.deployment.engines.kept_logging import kept_logging, silent
from secateur.deployment.engines.program import PLAIN_NAME
from secateur.deployment.engines.seal import check_seal, is_sealed, seal, unseal
from secateur.deployment.engines.signal_stack import kept_signal_stack
from secateur.deployment.engines.unobserved import unobserved

__all__ = [
    "KEY",
    "OTHER",
    "PLAIN_NAME",
    "PROFILED",
    "Engine",
    "EngineMissingError",
    "Precision",
    "UnreadableError",
    "check_seal",
    "check_settings",
    "is_sealed",
    "kept_logging",
    "kept_signal_stack",
    "layer_times",
    "load_engine",
    "need",
    "quiet",
    "seal",
    "silent",
    "unobserved",
    "unseal",
]
