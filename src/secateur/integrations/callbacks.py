"""The classes that callbacks of the trainers derive from, of libraries that may be missing."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any


def lightning() -> type[Any]:
    """Lightning's, of each of its two packages that is in use.

    Raises:
        ImportError: If there is none.
    """
    names = ("lightning.pytorch", "pytorch_lightning")
    bases = [sys.modules[name].Callback for name in names if hasattr(sys.modules.get(name), "Callback")]
    error: ImportError | None = None
    for name in names if not bases else ():
        try:
            return import_module(name).Callback
        except ImportError as missing:
            error = missing
    if error:
        raise _missing("lightning", "Lightning", error) from error
    return bases[0] if len(bases) == 1 else type("Callback", tuple(bases), {})


def transformers() -> type[Any]:
    """Hugging Face's.

    Raises:
        ImportError: If it is missing, or what its Trainer needs.
    """
    try:
        import_module("accelerate")  # transformers itself misses it only when a Trainer is made
        return import_module("transformers").TrainerCallback
    except ImportError as error:
        raise _missing("transformers", "transformers and accelerate", error) from error


def _missing(extra: str, needs: str, error: ImportError) -> ImportError:
    return ImportError(
        f"secateur.integrations.{extra} needs {needs}: pip install 'secateur[{extra}]' ({error})."
    )
