"""Keeps the user's logging as it was, and what tools say of their own work out of it."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def kept_logging() -> Generator[None]:
    """Puts back the root logger's level and handlers, and the class of loggers, after a tool that sets them up for itself.

    NNCF exchanges the class where it is imported; ExecuTorch and ONNX Runtime's tool give the root a handler where it has none,
    so that a ``logging.basicConfig`` of the user's would come too late and do nothing.
    """
    root, made = logging.getLogger(), logging.getLoggerClass()
    level, handlers = root.level, list(root.handlers)
    try:
        yield
    finally:
        root.setLevel(level)
        logging.setLoggerClass(made)
        for handler in [one for one in root.handlers if one not in handlers]:
            root.removeHandler(handler)


@contextmanager
def silent(name: str) -> Generator[None]:
    """Of the logger ``name`` and those below it errors alone are heard."""
    log = logging.getLogger(name)
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)
