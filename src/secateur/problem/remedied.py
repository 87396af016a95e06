"""An error whose remedy depends on where the problem was made: by a call in Python, or by names on a command line."""

from __future__ import annotations


class RemediedError(ValueError):
    """What is wrong, with the remedy; its text is that of Python.

    Args:
        what: What is wrong, in whole sentences.
        remedy: What to write in Python, such as arguments of :class:`~secateur.Problem`.
        by_name: What to do where there is no such call, since data and model are named on a command line.
    """

    def __init__(self, what: str, remedy: str = "", by_name: str = "") -> None:
        super().__init__(f"{what} {remedy}".strip())
        self.what, self.remedy, self.by_name = what, remedy, by_name

    def __reduce__(self) -> tuple[type[RemediedError], tuple[str, str, str]]:
        return type(self), (self.what, self.remedy, self.by_name)

    @property
    def on_command_line(self) -> str:
        """The text for a command line."""
        return f"{self.what} {self.by_name}".strip()
