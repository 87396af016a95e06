"""Procedural materials of the ``rooms`` scenes, anchored in the surfaces' own frames.

A painter takes u, v (N,) in metres from the middle of the face, the face's half sizes (N,), and two colours
(N, 3); it returns colours (N, 3). Colours are as displayed, in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from secateur.data.rooms.parts import Texture
from secateur.data.rooms.scene import Floats, Ints

Painter = Callable[[Floats, Floats, Floats, Floats, Floats, Floats], Floats]

_BOARD, _TIER, _SPINE = (
    0.03,
    0.31,
    0.055,
)  # bookshelf: thickness of the boards, height of a tier, width of a book
_SPINES = np.array([
    [0.70, 0.20, 0.17], [0.18, 0.32, 0.50], [0.85, 0.70, 0.32], [0.25, 0.45, 0.33], [0.88, 0.84, 0.76],
    [0.40, 0.24, 0.38], [0.86, 0.48, 0.22], [0.22, 0.22, 0.26],
], np.float32)  # fmt: skip


def paint(
    texture: Ints, u: Floats, v: Floats, half_u: Floats, half_v: Floats, color: Floats, accent: Floats
) -> Floats:
    """Colours (N, 3) of surface points, each by its own texture (N,)."""
    result = color.copy()
    for kind in np.unique(texture).tolist():
        if kind in _PAINTERS:
            rows = np.flatnonzero(texture == kind)
            parts = (u[rows], v[rows], half_u[rows], half_v[rows], color[rows], accent[rows])
            result[rows] = _PAINTERS[kind](*parts)
    return result


def on_book(u: Floats, v: Floats, half_u: Floats, half_v: Floats) -> NDArray[np.bool_]:
    """Whether points of a bookshelf's front lie on a book and not on a board or in a gap."""
    rise = (half_v - v) % _TIER  # from the top of a tier down
    slot = np.floor(u / _SPINE).astype(np.int64)
    tier = np.floor((half_v - v) / _TIER).astype(np.int64)
    gap = _BOARD + 0.03 + 0.08 * _hash(slot, tier)
    standing = (rise > gap) & (_hash(slot // 3, tier + 7) > 0.12)
    return standing & (np.abs(u) < half_u - _BOARD) & (half_v + v > 2 * _BOARD)


def _hash(i: Ints, j: Ints) -> Floats:
    """Numbers in [0, 1) that look random, from pairs of integers."""
    mixed = (i * 73856093) ^ (j * 19349663)
    mixed = (mixed ^ (mixed >> 13)) * 1274126177
    return ((mixed >> 8) & 0xFFFF).astype(np.float32) / np.float32(65536)


def _blend(color: Floats, accent: Floats, amount: Floats | NDArray[np.bool_]) -> Floats:
    return color + (accent - color) * amount[:, None]


def _cell(x: Floats, size: float) -> Ints:
    return np.floor(x / np.float32(size)).astype(np.int64)


def _checker(u: Floats, v: Floats, half_u: Floats, half_v: Floats, color: Floats, accent: Floats) -> Floats:
    size = np.where(half_u > 1, np.float32(0.45), np.float32(0.12))
    i, j = np.floor(u / size).astype(np.int64), np.floor(v / size).astype(np.int64)
    return _blend(color, accent, (i + j) % 2 == 1) * (0.94 + 0.06 * _hash(i, j))[:, None]


def _planks(u: Floats, v: Floats, half_u: Floats, half_v: Floats, color: Floats, accent: Floats) -> Floats:
    row = _cell(v, 0.16)
    shade = _hash(row, _cell(u + 0.7 * _hash(row, row), 1.1))
    return _blend(color, accent, shade) * (0.82 + 0.18 * shade)[:, None]


def _stripes(u: Floats, v: Floats, half_u: Floats, half_v: Floats, color: Floats, accent: Floats) -> Floats:
    return _blend(color, accent, (u % np.where(half_u > 1, np.float32(0.5), np.float32(0.2)) < 0.1))


def _bricks(u: Floats, v: Floats, half_u: Floats, half_v: Floats, color: Floats, accent: Floats) -> Floats:
    row = _cell(v, 0.14)
    column = _cell(u + 0.18 * (row % 2).astype(np.float32), 0.36)
    return _blend(color, accent, _hash(row, column)) * (0.84 + 0.16 * _hash(column, row))[:, None]


def _rug(u: Floats, v: Floats, half_u: Floats, half_v: Floats, color: Floats, accent: Floats) -> Floats:
    edge = np.minimum(half_u - np.abs(u), half_v - np.abs(v))
    diamonds = (np.abs(u) + np.abs(v)) % 0.4 < 0.12
    return _blend(color, accent, ((edge > 0.08) & (edge < 0.18)) | (diamonds & (edge > 0.25)))


def _drawers(u: Floats, v: Floats, half_u: Floats, half_v: Floats, color: Floats, accent: Floats) -> Floats:
    tall = half_v > 0.6
    split = np.minimum(np.abs(u), np.where(tall, np.float32(9), np.abs((half_v - v) % 0.28)))
    knob = (np.abs(np.abs(u) - 0.07) < 0.025) & (np.abs(v) < 0.12) & tall
    return np.where(
        knob[:, None], accent, color * np.where(split < 0.02, np.float32(0.5), np.float32(1))[:, None]
    )


def _shelf(u: Floats, v: Floats, half_u: Floats, half_v: Floats, color: Floats, accent: Floats) -> Floats:
    tier, slot = np.floor((half_v - v) / _TIER).astype(np.int64), _cell(u, _SPINE)
    spine = _SPINES[(8 * _hash(slot, tier + 31)).astype(np.int64)] * (0.8 + 0.2 * _hash(tier, slot))[:, None]
    board = ((half_v - v) % _TIER < _BOARD) | (half_u - np.abs(u) < _BOARD) | (half_v + v < 2 * _BOARD)
    back = np.where(board[:, None], color, 0.35 * color)
    return np.where(on_book(u, v, half_u, half_v)[:, None], spine, back)


def _picture(u: Floats, v: Floats, half_u: Floats, half_v: Floats, color: Floats, accent: Floats) -> Floats:
    edge = np.minimum(half_u - np.abs(u), half_v - np.abs(v))
    kind = _hash((1000 * half_u).astype(np.int64), (1000 * half_v).astype(np.int64))
    hills = v < half_v * (0.5 * np.sin(6 * u + 20 * kind) - 0.2)
    disc = np.hypot(u - 0.4 * half_u * (2 * kind - 1), v - 0.2 * half_v) < 0.35 * half_v
    art = np.where(hills[:, None], color, accent * np.float32(0.95))
    art = np.where(disc[:, None], 1 - 0.6 * color, art)
    art = np.where((edge < 0.09)[:, None], np.float32(0.93), art)
    return np.where((edge < 0.035)[:, None], np.float32(0.16), art)


def _glass(u: Floats, v: Floats, half_u: Floats, half_v: Floats, color: Floats, accent: Floats) -> Floats:
    edge = np.minimum(np.minimum(half_u - np.abs(u), half_v - np.abs(v)), np.abs(u) + 0.02)
    height = np.clip(v / half_v * 0.5 + 0.5, 0, 1)[:, None]
    sky = accent + (1 - accent) * 0.75 * (1 - height)
    trees = v < half_v * (-0.45 + 0.12 * np.sin(9 * u) + 0.06 * np.sin(23 * u))
    view = np.where(trees[:, None], np.array([0.32, 0.45, 0.28], np.float32), sky)
    return np.where((edge < 0.055)[:, None], 0.85 * color, view)


def _screen(u: Floats, v: Floats, half_u: Floats, half_v: Floats, color: Floats, accent: Floats) -> Floats:
    edge = np.minimum(half_u - np.abs(u), half_v - np.abs(v))
    height = np.clip(v / half_v * 0.5 + 0.5, 0, 1)
    show = _blend(0.55 * color, 0.8 * accent, height)
    show = np.where((np.hypot(u + 0.3 * half_u, v) < 0.45 * half_v)[:, None], 1 - 0.7 * show, show)
    dark = color.sum(1) > 1.6  # switched off: only a faint reflection
    show = np.where(dark[:, None], (0.10 + 0.08 * (height + u / half_u > 1))[:, None], show)
    return np.where((edge < 0.03)[:, None], np.float32(0.06), show)


_PAINTERS: dict[int, Painter] = {
    Texture.CHECKER: _checker,
    Texture.PLANKS: _planks,
    Texture.STRIPES: _stripes,
    Texture.BRICKS: _bricks,
    Texture.RUG: _rug,
    Texture.DRAWERS: _drawers,
    Texture.SHELF: _shelf,
    Texture.PICTURE: _picture,
    Texture.GLASS: _glass,
    Texture.SCREEN: _screen,
}
