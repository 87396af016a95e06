"""What native code says of its own work, which no logger and no warning filter holds back."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from tempfile import TemporaryFile
from threading import Lock

_ALONE = Lock()  # two at once would put back each other's


@contextmanager
def unheard(*starts: bytes) -> Generator[None]:
    """Lines of standard error that begin with one of ``starts`` are not shown; all others are, once the block has ended.

    Args:
        starts: What is known to be no news to anybody.
    """
    with _ALONE, TemporaryFile() as held:
        with suppress(AttributeError, OSError, ValueError):  # there may be none
            sys.stderr.flush()
        try:
            shown = os.dup(2)
        except OSError:  # closed
            yield
            return
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(shown, 2)
            os.close(shown)
            held.seek(0)
            for line in held:
                if not line.startswith(starts):
                    os.write(2, line)
