"""A picture of a ``rooms`` scene and everything a network is asked to tell about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from secateur.data.rooms.cast import camera_rays, corners, first_hits, hidden, project, surface_normals
from secateur.data.rooms.parts import CLASSES, Shape, Texture
from secateur.data.rooms.scene import Floats, Ints, Scene
from secateur.data.rooms.texture import on_book, paint

_NOISE = 0.012  # standard deviation of the sensor noise; the image lies in [0, 1]
_FRONT_ONLY = np.isin(
    np.arange(len(Texture)), [Texture.DRAWERS, Texture.SHELF, Texture.PICTURE, Texture.GLASS, Texture.SCREEN]
)
_BOOKS = CLASSES.index("books")
_ACROSS = np.array([[2, 1], [0, 2], [0, 1]])  # the two axes that span a face, by the face's own axis


@dataclass(frozen=True)
class View:
    """One rendered image and its targets; H x W pixels.

    ``image`` (H, W, 3) RGB in [0, 1]; ``seg`` (H, W) class index; ``normal`` (H, W, 3) unit, towards the camera,
    x right, y down, z forward; ``depth`` (H, W) metres along the camera's axis; ``edge`` and ``keypoint`` (H, W)
    in [0, 1].
    """

    image: Floats
    seg: Ints
    normal: Floats
    depth: Floats
    edge: Floats
    keypoint: Floats


def render(scene: Scene, height: int, width: int, rng: np.random.Generator) -> View:
    """Draw ``scene``; ``rng`` gives the sensor noise."""
    directions = camera_rays(height, width, scene.rotation)
    places = corners(scene.center, scene.half, scene.yaw)  # (S, 8, 3)
    projected = project(places, scene, height, width)
    depth, surface = first_hits(scene, directions, projected)
    rays, found = directions.reshape(3, -1).T, surface.ravel()
    points = scene.position + depth.reshape(-1, 1) * rays  # (N, 3)
    normals, local, axis = surface_normals(scene, rays, points, found)
    color, seg, shines = _material(scene, found, local, axis)
    light = np.where(shines[:, None], np.float32(1.3), _light(scene, points, normals, found, (height, width)))
    radiance = color * color * light
    exposed = radiance * (np.float32(0.24) / (radiance.mean() + np.float32(0.04)))
    clean = np.sqrt(np.minimum(exposed, 1)).reshape(height, width, 3)
    noise = rng.standard_normal(clean.shape, np.float32) * np.float32(_NOISE)
    return View(
        image=np.clip(clean + noise, 0, 1),
        seg=seg.reshape(height, width),
        normal=(normals @ scene.rotation.T).reshape(height, width, 3),
        depth=depth,
        edge=edges(clean, depth),
        keypoint=_keypoints(scene, places, projected, height, width),
    )


def edges(image: Floats, depth: Floats) -> Floats:
    """Strength (H, W) in [0, 1] of edges in brightness and of steps and creases in depth.

    Inverse depth is linear in the pixel on any plane, so its second difference is zero but for steps and creases.

    Args:
        image: RGB (H, W, 3) in [0, 1], without noise.
        depth: Metres (H, W).
    """
    gray = np.pad(image @ np.array([0.299, 0.587, 0.114], np.float32), 1, mode="edge")
    across = gray[:, 2:] - gray[:, :-2]
    down = gray[2:] - gray[:-2]
    sobel_x = (across[:-2] + 2 * across[1:-1] + across[2:]) / 4
    sobel_y = (down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]) / 4
    inverse = np.pad(1 / depth, 1, mode="reflect", reflect_type="odd")
    inner = 2 * inverse[1:-1, 1:-1]
    bend = np.abs(inverse[1:-1, 2:] + inverse[1:-1, :-2] - inner) + np.abs(
        inverse[2:, 1:-1] + inverse[:-2, 1:-1] - inner
    )
    texture = np.hypot(sobel_x, sobel_y) * np.float32(2)
    return np.minimum(np.maximum(texture, 4 * bend * depth), 1)


def _material(
    scene: Scene, surface: Ints, local: Floats, axis: Ints
) -> tuple[Floats, Ints, NDArray[np.bool_]]:
    """Colour (N, 3), class (N,) and whether it shines by itself (N,)."""
    texture = scene.texture[surface]
    texture = np.where(_FRONT_ONLY[texture] & (axis != 2), Texture.PLAIN, texture)
    half, rows = scene.half[surface], np.arange(len(surface))
    first, second = _ACROSS[axis, 0], _ACROSS[axis, 1]
    u, v, half_u, half_v = local[rows, first], local[rows, second], half[rows, first], half[rows, second]
    color = paint(texture, u, v, half_u, half_v, scene.color[surface], scene.accent[surface])
    seg = scene.label[surface]
    shelf = np.flatnonzero(texture == Texture.SHELF)
    seg[shelf[on_book(u[shelf], v[shelf], half_u[shelf], half_v[shelf])]] = _BOOKS
    return color, seg, texture >= Texture.GLASS


def _light(scene: Scene, points: Floats, normals: Floats, surface: Ints, size: tuple[int, int]) -> Floats:
    """Light (N, 3) that reaches points (N, 3): ambient, darker in the corners of the room, lamp and window."""
    room = np.array([scene.room[0], scene.room[1] / 2, scene.room[2]], np.float32)
    gap = room - np.abs(points - scene.center[0])
    faces = np.flatnonzero(surface < 6)
    gap[faces, surface[faces] // 2] = 9
    corner = 1 / (1 + 1.5 * np.maximum(gap, 0) / 0.15)
    ambient = (0.42 + 0.08 * normals[:, 1]) * (1 - 0.5 * corner).prod(1)
    light = ambient[:, None] * np.array([0.97, 0.98, 1.0], np.float32)
    sources = [(scene.lamp, 3.0 * scene.lamp_power, (1.0, 0.93, 0.82))]
    if scene.daylight is not None:
        sources.append((scene.daylight, 2.0, (0.92, 0.97, 1.0)))
    for place, power, tone in sources:
        ray = place - points
        square = (ray * ray).sum(1)
        lambert = np.maximum((ray * normals).sum(1), 0) / np.sqrt(square)
        lit = _softened(~hidden(scene, place, points.T, scene.casts), size)
        strength = np.float32(power) * lambert * lit / (np.float32(0.8) + square)
        light += strength[:, None] * np.array(tone, np.float32)
    return light


def _softened(lit: NDArray[np.bool_], size: tuple[int, int]) -> Floats:
    """Mean (N,) over 3 x 3 pixels: a hard shadow with a soft rim."""
    padded = np.pad(lit.reshape(size).astype(np.float32), 1, mode="edge")
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    return ((rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 9).ravel()


def _keypoints(scene: Scene, places: Floats, projected: Floats, height: int, width: int) -> Floats:
    """Heat map (H, W): a bump of height 1 at each visible corner of the room and of its larger boxes."""
    large = (np.sort(scene.half, 1)[:, 1] > 0.12) & (scene.shape == Shape.BOX)
    large[1:6] = False  # the six faces share the corners of one box
    spots, where = places[large].reshape(-1, 3), projected[large].reshape(-1, 3)
    inside = (
        (where[:, 2] > 0.3)
        & (where[:, :2] > -0.5).all(1)
        & (where[:, :2] < (width - 0.5, height - 0.5)).all(1)
    )
    spots, where = spots[inside], where[inside]
    seen = where[~hidden(scene, scene.position, spots.T, np.ones(len(large), np.bool_))]
    sigma = max(0.8, width / 64)
    bump_x = np.exp(-(((np.arange(width) - seen[:, :1]) / sigma) ** 2) / 2)
    bump_y = np.exp(-(((np.arange(height) - seen[:, 1:2]) / sigma) ** 2) / 2)
    return (bump_y[:, :, None] * bump_x[:, None, :]).max(0, initial=0.0).astype(np.float32)
