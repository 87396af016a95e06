"""Keeps this thread's alternate signal stack as it was."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Generator
from contextlib import contextmanager


class _Stack(ctypes.Structure):
    _fields_ = (("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextmanager
def kept_signal_stack() -> Generator[None]:
    """Puts back the signal stack after an engine that exchanges it for one that does not last.

    OpenVINO does so in the calling thread. The next signal with a handler, such as that of a child that ends once a
    DataLoader with workers has been used, would then kill the process.
    """
    if not sys.platform.startswith("linux"):
        yield
        return
    system, before = ctypes.CDLL(None), _Stack()
    system.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        system.sigaltstack(ctypes.byref(before), None)
