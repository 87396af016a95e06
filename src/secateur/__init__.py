"""Prune one PyTorch network that does several tasks: sparse, small, fast, and as good at every task.

``import secateur`` loads nothing: what ``__init__.pyi`` lists, names and rooms, is imported when it is first asked for.
"""

from pathlib import Path

import lazy_loader

__getattr__, __dir__, _listed = lazy_loader.attach_stub(__name__, __file__)

# `from secateur import *` gives the names alone, without the rooms that they come from.
_rooms = {path.name for path in Path(__file__).parent.iterdir() if path.is_dir()}
_names = [name for name in _listed if name not in _rooms]
__all__ = _names  # pyright: ignore[reportUnsupportedDunderAll] (it reads the stub)
