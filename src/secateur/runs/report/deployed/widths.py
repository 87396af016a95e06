"""A network as a bar for each layer, drawn by hand: it fills the width it is given, on a page or on a phone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

_HEIGHT, _SPACE = 100.0, 0.18  # units of the drawing, and the share of a bar's place that stays empty


def bars(
    title: str,
    names: Sequence[str],
    values: Sequence[tuple[float, float]],
    colours: Sequence[str],
    text: Callable[[float], str],
) -> str:
    """Inline SVG: for each name its value before, an outline, and after, filled; each says both when pointed at.

    Args:
        title: Alternative text.
        names: Of layers, from the input on.
        values: Before and after of each.
        colours: CSS colour of each.
        text: A value as text.
    """
    top = max([max(pair) for pair in values], default=0.0) or 1.0
    parts: list[str] = []
    for place, (name, (before, after), colour) in enumerate(zip(names, values, colours, strict=True)):
        outline, filled = (_HEIGHT * value / top for value in (before, after))
        left, width = place + _SPACE / 2, 1 - _SPACE
        said = escape(f"{name}: {text(before)} before, {text(after)} after")
        parts.append(
            f"<g><title>{said}</title>"
            f'<rect x="{left:.2f}" y="{_HEIGHT - outline:.2f}" width="{width:.2f}" height="{outline:.2f}" class="before"/>'
            f'<rect x="{left:.2f}" y="{_HEIGHT - filled:.2f}" width="{width:.2f}" height="{filled:.2f}" style="fill: {colour}"/></g>'
        )
    total = text(sum(before for before, _ in values)), text(sum(after for _, after in values))
    label = escape(f"{title}, {len(names)} of them, before and after; together {total[0]} and {total[1]}.")
    return (
        f'<svg viewBox="0 0 {max(1, len(names))} {_HEIGHT:.0f}" preserveAspectRatio="none" role="img" aria-label="{label}">'
        f"<title>{label}</title>{''.join(parts)}</svg>"
    )
