"""The results for a paper: a short table and a long one for the appendix, and text as LaTeX writes it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from secateur.runs.study.results import Arm, Results
from secateur.runs.study.tables.columns import DELTA, DENSITY, Column, fitted, grouped, is_metric, panels
from secateur.runs.study.tables.fitting import on_a_page, wide
from secateur.runs.study.tables.labels import label
from secateur.runs.study.tables.notes import note
from secateur.runs.study.tables.table import text

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
    """Plain text as a ``table`` with ``booktabs``: a line of heads, and rows whose first cell is their name.

    What is wider than a page stands in parts one below the other.
    """
    sizes = [max(wide(row[at]) for row in (heads, *rows)) for at in range(len(heads))]
    columns = range(1, len(heads))
    letters, parts = on_a_page(
        sizes[0],
        lambda most: fitted(columns, most, sizes.__getitem__),
        lambda part: [sizes[at] for at in part],
    )
    body: list[str] = []
    for part in parts:
        lines = [" & ".join(escaped(row[at]) for at in (0, *part)) + r" \\" for row in (heads, *rows)]
        body += [*[r"\midrule"] * bool(body), f"{lines[0]}*", r"\midrule", *lines[1:]]
    names = (rf"\caption{{{escaped(caption)}}}", rf"\label{{tab:{label}}}")
    return _table(names, letters, max(map(len, parts), default=0), body)


def short(results: Results, about: About) -> str:
    """A ``table`` with ``booktabs``: the columns that were asked for, or ΔT, the first metric of each task and the density.

    Best bold, what is not significantly worse underlined, rows of one reference together; in parts, where a page is too narrow.
    """
    columns = results.columns if results.asked else _few(results)
    return _table(_caption(results, about, about.label), *_body(results, columns))


def _table(caption: Sequence[str], letters: str, columns: int, body: Sequence[str]) -> str:
    lines = [
        r"% \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering\setlength{\belowcaptionskip}{6pt}",
        *caption,
        letters,
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
    letters, width, body = _body(results, results.columns)
    caption, name = _caption(results, about, f"{about.label}-long")
    lines = [
        r"% \usepackage{booktabs,longtable}",
        rf"{{{letters}\setlength{{\LTcapwidth}}{{\linewidth}}",
        rf"\begin{{longtable}}{{l{'r' * width}}}",
        caption,
        rf"{name} \\",
        r"\toprule",
        r"\endfirsthead",
        r"\toprule",
        r"\endhead",
        r"\bottomrule",
        r"\endfoot",
        *body,
        r"\end{longtable}",
        "}",
    ]
    return "\n".join([*lines, ""])


def _body(results: Results, columns: Sequence[Column]) -> tuple[str, int, list[str]]:
    """The size of the letters, how many columns the widest part has, and the parts, each with its heads."""
    alone = {own[0] for _, own in grouped(columns) if len(own) == 1}

    def size(column: Column) -> float:
        cells = (wide(_cell(arm, column, results), results.rank(arm, column)) for arm in results.arms)
        heads = wide(f"{column.name} ↑"), wide(column.group) if column in alone else 0.0
        return max(*heads, *cells)

    sizes = {column: size(column) for column in columns}
    letters, parts = on_a_page(
        max((wide(label(arm, results)) for arm in results.arms), default=0.0),
        lambda most: panels(columns, most, sizes.__getitem__),
        lambda part: [sizes[column] for _, own in part for column in own],
    )
    body: list[str] = []
    for part in parts:
        shown = [column for _, own in part for column in own]
        body += [*[r"\midrule"] * bool(body), *_heads(part), r"\midrule", *_rows(results, shown)]
    return letters, max((sum(len(own) for _, own in part) for part in parts), default=0), body


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
    keep = r" \\*"  # on the page of what comes below
    return [" & ".join(["", *top]) + keep, "".join(ends), " & ".join(["", *names]) + keep]


def _rows(results: Results, columns: Sequence[Column]) -> list[str]:
    """A row for each arm that has any of these figures, a little room where a reference begins."""
    made: list[str] = []
    last: Arm | None = None
    for arm in results.arms:
        if not any(text(arm, column, results) for column in columns):
            continue
        if last is not None and (last.tasks, last.against) != (arm.tasks, arm.against):
            made.append(r"\addlinespace")
        cells = [_WRAPS[results.rank(arm, c)] % escaped(_cell(arm, c, results)) for c in columns]
        made.append(" & ".join([escaped(label(arm, results)), *cells]) + r" \\")
        last = arm
    return made


def _cell(arm: Arm, column: Column, results: Results) -> str:
    """Of ΔT without its unit, which the caption says."""
    found = text(arm, column, results)
    return found.removesuffix("\N{NARROW NO-BREAK SPACE}%") if column.unit == "points" else found
