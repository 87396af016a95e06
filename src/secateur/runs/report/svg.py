"""A matplotlib figure as an SVG that belongs to the page: its fonts, its colours in light and dark, no clashing ids; and as a PDF."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Colours of the light page; each becomes the CSS variable of that name, which style.css sets for light and dark.
INK, MUTED, RULE = "#1d2733", "#5d6975", "#dfe3e6"
SERIES = ("#2f6690", "#c26a2b", "#4b8a57", "#7d5a96", "#b3475a", "#2b8a8a", "#94801f", "#6f7a88")
_VARIABLES = {INK: "ink", MUTED: "muted", RULE: "rule"} | {c: f"series-{i}" for i, c in enumerate(SERIES)}
_PIXELS = 72  # an SVG of matplotlib has 72 units an inch, and a unit is a CSS pixel


def new_figure(width: float, height: float, left: float, right: float) -> tuple[Figure, Axes]:
    """An empty plot of ``width`` x ``height`` CSS pixels with margins ``left`` and ``right`` for labels."""
    figure = Figure(figsize=(width / _PIXELS, height / _PIXELS), dpi=_PIXELS)
    return figure, _axes(
        figure, (left / width, 38 / height, 1 - (left + right) / width, 1 - (38 + 12) / height)
    )


def stacked(count: int, right: float) -> tuple[Figure, list[Axes]]:
    """Empty plots one below the other, each with room for a title."""
    width, each, title = 1080, 220, 28
    height = count * each
    figure = Figure(figsize=(width / _PIXELS, height / _PIXELS), dpi=_PIXELS)
    inside = (60 / width, (each - 38 - title) / height, 1 - (60 + right) / width)
    return figure, [
        _axes(figure, (inside[0], ((count - 1 - n) * each + 38) / height, inside[2], inside[1]))
        for n in range(count)
    ]


def _axes(figure: Figure, box: tuple[float, float, float, float]) -> Axes:
    axes = figure.add_axes(box)
    axes.set_facecolor("none")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)
    axes.tick_params(axis="both", which="both", length=0, labelsize=11, labelcolor=MUTED, pad=5)
    axes.tick_params(axis="x", which="major", length=4, color=MUTED)
    axes.grid(visible=True, axis="y", color=RULE, linewidth=1)
    axes.set_axisbelow(True)
    axes.set_xlabel("step", fontsize=11, color=MUTED, labelpad=4)
    return axes


def plain_text(axes: Axes, x: float, y: float, text: str, **style: object) -> None:
    """Text in axes fractions, never read as mathematics; ``style`` are properties of matplotlib's Text."""
    axes.text(x, y, text, transform=axes.transAxes, parse_math=False, **style)  # pyright: ignore[reportArgumentType]


def end_labels(axes: Axes, ends: Iterable[tuple[str, float, str]], gap: float = 14) -> None:
    """Names at the right end of lines, ``(name, last value, colour)``, moved apart to ``gap`` pixels."""
    height = axes.get_window_extent().height
    placed: list[tuple[float, str, str]] = []
    for name, value, colour in ends:
        y = axes.transData.transform((axes.get_xlim()[0], value))[1] - axes.get_window_extent().y0
        placed.append((float(y), name, colour))
    placed.sort(key=lambda item: item[0])
    ys = _apart([y for y, _, _ in placed], gap, height)
    for y, (_, name, colour) in zip(ys, placed, strict=True):
        plain_text(axes, 1.02, y / height, shortened(name), va="center", fontsize=11, color=colour)


def shortened(name: str, length: int = 22) -> str:
    """``name`` without its middle where it is longer than ``length``."""
    half = (length - 1) // 2
    return name if len(name) <= length else f"{name[:half]}…{name[-half:]}"


def to_svg(figure: Figure, slug: str, title: str) -> str:
    """The figure as inline SVG; ``title`` is its alternative text, ``slug`` makes its ids unique on the page."""
    FigureCanvasSVG(figure)
    buffer = io.StringIO()
    style: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": slug}
    with matplotlib.rc_context(style), warnings.catch_warnings():
        # The text is drawn by the browser, with its own fonts; matplotlib only measures it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(buffer, format="svg", dpi=144, transparent=True, metadata={"Date": None})
    body = buffer.getvalue()
    body = body[body.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    viewbox = re.search(r'viewBox="([^"]+)"', body)
    assert viewbox is not None
    width = float(viewbox.group(1).split()[2])
    head = (
        f'<svg viewBox="{viewbox.group(1)}" style="max-width: {width:.0f}px" role="img" '
        f'aria-label="{escape(title)}"><title>{escape(title)}</title>'
    )
    return head + _themed(_own_ids(body[body.index(">") + 1 :], slug))


@dataclass(frozen=True)
class Drawing:
    """A figure that is drawn.

    Args:
        figure: Of matplotlib.
        slug: Makes its ids unique on a page.
        title: Its alternative text.
    """

    figure: Figure
    slug: str
    title: str

    def svg(self) -> str:
        """For a page; :func:`standalone` makes a file of it."""
        return to_svg(self.figure, self.slug, self.title)

    def pdf(self) -> bytes:
        """For a paper: on white, its fonts in it as TrueType, the same bytes whenever it is made."""
        FigureCanvasPdf(self.figure)
        buffer = io.BytesIO()
        about: dict[Any, Any] = {"Title": self.title, "CreationDate": None}
        with matplotlib.rc_context({"pdf.fonttype": 42}), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from")
            self.figure.savefig(buffer, format="pdf", facecolor="white", metadata=about)
        return buffer.getvalue()


def standalone(svg: str) -> str:
    """An inline SVG as a file of its own: colours in place of page variables, on white."""
    for colour, name in _VARIABLES.items():
        svg = svg.replace(f"var(--{name})", colour)
    svg = svg.replace("var(--sans)", "sans-serif")
    head = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
    return head + svg.removeprefix("<svg ").replace('style="', 'style="background: #fff; ', 1) + "\n"


def _own_ids(body: str, slug: str) -> str:
    """Ids that something refers to get the prefix ``slug``; the others go."""
    body = body.replace("xlink:href=", "href=")
    used = set(re.findall(r'(?:url\(|href=")#([^")]+)', body))
    body = re.sub(r' id="([^"]+)"', lambda m: f' id="{slug}-{m[1]}"' if m[1] in used else "", body)
    return re.sub(r'(url\(|href=")#', rf"\g<1>#{slug}-", body)


def _themed(body: str) -> str:
    """Page variables in place of colours and fonts, within style attributes only."""

    def style(match: re.Match[str]) -> str:
        text = re.sub(r"#[0-9a-f]{6}", lambda m: _variable(m[0]), match[0])
        return re.sub(r"(font: [^;']*?px) [^;\"]+", r"\1 var(--sans)", text)

    return re.sub(r'style="[^"]*"', style, body)


def _variable(colour: str) -> str:
    return f"var(--{_VARIABLES[colour]})" if colour in _VARIABLES else colour


def _apart(ys: list[float], gap: float, height: float) -> list[float]:
    """Sorted positions at least ``gap`` apart and, where there is room, within 0 and ``height``."""
    for i in range(1, len(ys)):
        ys[i] = max(ys[i], ys[i - 1] + gap)
    ceiling = height + gap / 4
    for i in reversed(range(len(ys))):
        ys[i] = min(ys[i], ceiling)
        ceiling = ys[i] - gap
    return ys
