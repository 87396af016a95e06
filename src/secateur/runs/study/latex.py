"""Text as LaTeX writes it."""

from __future__ import annotations

_LATEX = {
    "\\": r"\textbackslash{}",
    "_": r"\_",
    "%": r"\%",
    "&": r"\&",
    "#": r"\#",
    "\N{GREEK CAPITAL LETTER DELTA}": r"$\Delta$",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{MINUS SIGN}": "$-$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{NO-BREAK SPACE}": "~",
    "\N{NARROW NO-BREAK SPACE}": r"\,",
}


def escaped(plain: str) -> str:
    """``plain`` in characters that LaTeX takes as they are."""
    for character, written in _LATEX.items():
        plain = plain.replace(character, written)
    return plain
