"""What a tool raises, said in one line with its name."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from secateur.deployment.engines import EngineMissingError
from secateur.problem import RemediedError


@contextmanager
def refusals(tool: str) -> Generator[None]:
    """Around what somebody else's code does with the model: every tool raises its own kinds, ``ValueError`` among them.

    Raises:
        ValueError: If it raises, but for a missing package, a disk that fails, and what was said with a remedy.
    """
    try:
        yield
    except (OSError, EngineMissingError, RemediedError):
        raise
    except Exception as error:
        raise ValueError(
            f"export: {tool} does not take the model ({type(error).__name__}: {first_line(error)}); no file was written. "
            "Replace the operation it names, or try another format."
        ) from error


def first_line(error: BaseException) -> str:
    """Of its message."""
    return next(iter(str(error).strip().splitlines()), "")
