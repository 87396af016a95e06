"""Around torch.export: what it prints, and what it leaves behind in the thread that calls it."""

from __future__ import annotations

import io
import sys
from collections.abc import Generator
from contextlib import contextmanager, redirect_stderr
from functools import cache
from threading import Event, Thread
from typing import Any

import torch


@contextmanager
def exporting() -> Generator[None]:
    """Around torch.export, in any thread.

    It prints the whole graph where it fails: the error says the line. All else is printed afterwards.
    """
    _keep_device_guard()
    said, graph = io.StringIO(), ""
    try:
        with redirect_stderr(said):
            yield
    except BaseException as error:
        graph = str(getattr(error, "partial_fx_graph", ""))
        raise
    finally:
        sys.stderr.write(said.getvalue().replace(f"{graph}\n", "") if graph else said.getvalue())


@cache
def _keep_device_guard() -> None:
    """Has a thread that never ends make what the first fake tensors of a process make.

    torch 2.11 keeps its stand-in for an absent GPU with the thread that needs it first and leaves a pointer to it for all
    others: once that thread has ended, the next export is a segmentation fault.
    """
    make: Any = getattr(torch._C, "_ensureCUDADeviceGuardSet", None)  # pyright: ignore[reportPrivateUsage]
    if make is None:
        return
    made = Event()

    def stay() -> None:
        try:
            make()
        finally:
            made.set()
        Event().wait()

    Thread(target=stay, name="device guard of fake tensors", daemon=True).start()
    made.wait()
