"""What a tool raises, said in one line with its name."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from secateur.deployment.engines import EngineMissingError, UnreadableError
from secateur.problem import RemediedError


@contextmanager
def refusals(tool: str, path: Path | None = None) -> Generator[None]:
    """Around what somebody else's code does with the model: every tool raises its own kinds, ``ValueError`` among them.

    Args:
        tool: Whose code.
        path: Of the file that it writes or reads, aside; its folder is not told.

    Raises:
        ValueError: If it raises, but for a missing package, a disk that fails, and what was said with a remedy.
    """
    try:
        yield
    except (OSError, EngineMissingError, RemediedError):
        raise
    except Exception as raised:
        own = isinstance(raised, UnreadableError) and isinstance(raised.__cause__, Exception)
        error = raised.__cause__ if own else raised  # a file just written is not to be exported again
        assert error is not None
        raise ValueError(
            f"export: {tool} does not take the model ({type(error).__name__}: {beside(first_line(error), path)}); no file was "
            "written. Replace the operation it names, or try another format."
        ) from error


def beside(said: str, path: Path | None) -> str:
    """Without the folder that ``path`` lies in."""
    return said if path is None else said.replace(f"{path.parent}/", "")


def first_line(error: BaseException) -> str:
    """Of its message."""
    return next(iter(str(error).strip().splitlines()), "")
