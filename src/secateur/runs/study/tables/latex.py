"""The results for a paper: a short table and a long one for the appendix, and text as LaTeX writes it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from secateur.runs.study.results import Arm, Results
from secateur.runs.study.tables.columns import DELTA, DENSITY, Column, grouped, is_metric, panels
from secateur.runs.study.tables.labels import label
from secateur.runs.study.tables.notes import note
from secateur.runs.study.tables.table import text

_COLUMNS = 6  # of figures that a printed page has room for
_ARROWS = {"higher": r" $\uparrow$", "lower": r" $\downarrow$", "": ""}
_WRAPS = {"best": r"\textbf{%s}", "tied": r"\underline{%s}", "": "%s"}
_GREEK = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma tau upsilon phi chi psi omega"
_CAPITALS = {"Γ": "Gamma", "Δ": "Delta", "Θ": "Theta", "Λ": "Lambda", "Ξ": "Xi", "Π": "Pi", "Σ": "Sigma", "Φ": "Phi", "Ψ": "Psi", "Ω": "Omega"}  # fmt: skip
_LATEX = {
    "\\": r"\textbackslash{}",
    "_": r"\_",
    "%": r"\%",
    "&": r"\&",
    "#": r"\#",
    "$": r"\$",
    "{": r"\{",
    "}": r"\}",
    "[": "{[}",  # \\ reads what follows it in brackets, and a star
    "*": "{*}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "\n": " ",
    "\r": " ",
    "\t": " ",
    "²": "$^2$",
    "³": "$^3$",
    "`": r"\textasciigrave{}",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{MINUS SIGN}": "$-$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{NO-BREAK SPACE}": "~",
    "\N{NARROW NO-BREAK SPACE}": r"\,",
    "\N{HORIZONTAL ELLIPSIS}": r"\ldots{}",
    "\N{UPWARDS ARROW}": r"$\uparrow$",
    "\N{DOWNWARDS ARROW}": r"$\downarrow$",
}
_LETTERS = [chr(code) for code in range(ord("α"), ord("ω") + 1) if chr(code) != "ς"]
_TABLE = str.maketrans(
    {
        letter: rf"$\{name}$"
        for letter, name in zip(_LETTERS, _GREEK.split(), strict=True)
        if name != "omicron"
    }
    | {letter: rf"$\{name}$" for letter, name in _CAPITALS.items()}
    | _LATEX
)


@dataclass(frozen=True)
class About:
    """What stands around a table.

    Args:
        label: What the paper refers to it by, without ``tab:``.
        data: Name of the data set, for the caption; left out where it is empty.
    """

    label: str = "results"
    data: str = ""


def escaped(plain: str) -> str:
    """``plain`` in characters that LaTeX takes as they are."""
    return re.sub("-(?=-)", "-{}", plain.translate(_TABLE))  # two would be printed as one long dash


def as_table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str, label: str) -> str:
    """Plain text as a ``table`` with ``booktabs``: a line of heads, and rows whose first cell is their name."""
    body = [" & ".join(map(escaped, row)) + r" \\" + "\n\\midrule" * (row is heads) for row in (heads, *rows)]
    return _table((rf"\caption{{{escaped(caption)}}}", rf"\label{{tab:{label}}}"), len(heads) - 1, body)


def short(results: Results, about: About) -> str:
    """A ``table`` with ``booktabs``: the columns that were asked for, or ΔT, the first metric of each task and the density.

    Best bold, what is not significantly worse underlined, rows of one reference together.
    """
    columns = results.columns if results.asked else _few(results)
    body = [*_heads(grouped(columns)), r"\midrule", *_rows(results, columns)]
    return _table(_caption(results, about, about.label), len(columns), body)


def _table(caption: Sequence[str], columns: int, body: Sequence[str]) -> str:
    lines = [
        r"% \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        *caption,
        rf"\begin{{tabular}}{{l{'r' * columns}}}",
        r"\toprule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join([*lines, ""])


def long(results: Results, about: About) -> str:
    """A ``longtable`` no wider than a page, all columns in parts one below the other, which breaks over pages."""
    parts = panels(results.columns, _COLUMNS)
    wide = max((sum(len(columns) for _, columns in part) for part in parts), default=0)
    caption, name = _caption(results, about, f"{about.label}-long")
    lines = [
        r"% \usepackage{booktabs,longtable}",
        rf"\begin{{longtable}}{{l{'r' * wide}}}",
        caption,
        rf"{name} \\",
        r"\toprule",
        r"\endfirsthead",
        r"\toprule",
        r"\endhead",
        r"\bottomrule",
        r"\endfoot",
    ]
    for number, part in enumerate(parts):
        columns = [column for _, group in part for column in group]
        lines += [r"\midrule"] * bool(number)
        lines += [*_heads(part), r"\midrule", *_rows(results, columns)]
    return "\n".join([*lines, r"\end{longtable}", ""])


def _few(results: Results) -> tuple[Column, ...]:
    metrics: dict[str, Column] = {}
    for column in filter(is_metric, results.columns):
        metrics.setdefault(column.group, column)
    return tuple(c for c in (DELTA, *metrics.values(), DENSITY) if c in results.columns)


def _caption(results: Results, about: About, name: str) -> tuple[str, str]:
    of = f" on {about.data}" if about.data else ""
    said = escaped(f"Test results{of}. {note(results)}")
    return rf"\caption{{{said}}}", rf"\label{{tab:{name}}}"


def _heads(groups: Sequence[tuple[str, Sequence[Column]]]) -> list[str]:
    """Groups over their columns, with a rule below each."""
    columns = [column for _, group in groups for column in group]
    top = [rf"\multicolumn{{{len(group)}}}{{c}}{{{escaped(name)}}}" for name, group in groups]
    ends, at = list[str](), 1
    for _, group in groups:
        ends.append(rf"\cmidrule(lr){{{at + 1}-{at + len(group)}}}")
        at += len(group)
    names = [escaped(c.name) + _ARROWS[c.better] for c in columns]
    return [" & ".join(["", *top]) + r" \\", "".join(ends), " & ".join(["", *names]) + r" \\"]


def _rows(results: Results, columns: Sequence[Column]) -> list[str]:
    """A row for each arm that has any of these figures, a little room where a reference begins."""
    made: list[str] = []
    last: Arm | None = None
    for arm in results.arms:
        if not any(text(arm, column, results) for column in columns):
            continue
        if last is not None and (last.tasks, last.against) != (arm.tasks, arm.against):
            made.append(r"\addlinespace")
        cells = [_WRAPS[results.rank(arm, c)] % escaped(text(arm, c, results)) for c in columns]
        made.append(" & ".join([escaped(label(arm, results)), *cells]) + r" \\")
        last = arm
    return made
