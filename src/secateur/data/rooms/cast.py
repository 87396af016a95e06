"""Ray casting for the ``rooms`` scenes: what each pixel sees, and which points a light or the camera can see."""

from __future__ import annotations

from math import cos, sin

import numpy as np
from numpy.typing import NDArray

from secateur.data.rooms.parts import Shape
from secateur.data.rooms.scene import Floats, Ints, Scene

NEAR = 0.05  # metres; nothing is drawn closer to the camera
_CHUNK = 4096  # points per pass of `hidden`: its temporaries stay in the cache


def focal_length(width: int) -> float:
    """Focal length in pixels of an image this wide, with the angle of view of the NYU-v2 camera."""
    return 518.86 / 640 * width


def camera_rays(height: int, width: int, rotation: Floats) -> Floats:
    """World directions (3, H, W) of the pixels' rays; one step along them is one metre of depth."""
    focal = focal_length(width)
    u = ((np.arange(width, dtype=np.float32) + 0.5) - width / 2) / np.float32(focal)
    v = ((np.arange(height, dtype=np.float32) + 0.5) - height / 2) / np.float32(focal)
    right, down, forward = rotation[:, :, None, None]
    return u * right + v[:, None] * down + forward


def project(points: Floats, scene: Scene, height: int, width: int) -> Floats:
    """Column, row and depth (..., 3) of world points (..., 3); the centre of the first pixel is (0, 0)."""
    seen = (points - scene.position) @ scene.rotation.T
    scale = focal_length(width) / np.maximum(seen[..., 2], 1e-3)
    return np.stack([
        seen[..., 0] * scale + (width / 2 - 0.5), seen[..., 1] * scale + (height / 2 - 0.5), seen[..., 2]
    ], -1)  # fmt: skip


def corners(center: Floats, half: Floats, yaw: Floats) -> Floats:
    """The eight corners (S, 8, 3) of boxes turned about their vertical axis."""
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32)
    local = half[:, None] * signs  # (S, 8, 3)
    c, s = np.cos(yaw)[:, None], np.sin(yaw)[:, None]
    turned = (c * local[..., 0] + s * local[..., 2], local[..., 1], c * local[..., 2] - s * local[..., 0])
    return np.stack(turned, -1) + center[:, None]


def first_hits(scene: Scene, directions: Floats, boxes: Floats) -> tuple[Floats, Ints]:
    """Depth (H, W) and surface (H, W) that each camera ray meets first.

    Args:
        scene: The room.
        directions: World directions (3, H, W), see :func:`camera_rays`.
        boxes: Projected corners (S, 8, 3) of all surfaces, see :func:`project`; they bound what is tested.
    """
    height, width = directions.shape[1:]
    depth, surface = _room_hits(scene, directions)
    low = np.floor(boxes[..., :2].min(1)).astype(np.int64)
    high = np.ceil(boxes[..., :2].max(1)).astype(np.int64) + 1
    near, far = boxes[..., 2].min(1), boxes[..., 2].max(1)
    low[near < NEAR], high[near < NEAR] = 0, (width, height)
    low, high = np.maximum(low, 0), np.minimum(high, (width, height))
    visible = np.flatnonzero((far > NEAR) & (low < high).all(1))
    origins = _turned(scene.position - scene.center, scene.yaw).astype(np.float64).tolist()
    turned: dict[float, tuple[Floats, Floats]] = {}
    for k in visible[visible >= 6].tolist():
        yaw = float(scene.yaw[k])
        if yaw not in turned:
            x, y, z = directions
            c, s = np.float32(cos(yaw)), np.float32(sin(yaw))
            local = np.stack([c * x - s * z, y, s * x + c * z])
            turned[yaw] = local, 1 / _nonzero(local)
        part = (..., slice(low[k, 1], high[k, 1]), slice(low[k, 0], high[k, 0]))
        local, inverse = turned[yaw][0][part], turned[yaw][1][part]
        enter, leave = _SPANS[Shape(int(scene.shape[k]))](origins[k], scene.half[k].tolist(), local, inverse)
        seen = depth[part]
        hit = (enter < leave) & (enter < seen) & (enter > NEAR)
        np.copyto(seen, enter, where=hit)
        surface[part][hit] = k
    return depth, surface


def hidden(scene: Scene, viewpoint: Floats, points: Floats, blockers: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether a part stands between ``viewpoint`` (3,) and each of ``points`` (3, N); round parts count as boxes.

    Args:
        scene: The room.
        viewpoint: Where one looks from, not inside a part.
        points: What one looks at.
        blockers: Which surfaces (S,) can hide something; the room itself never does.
    """
    chosen = np.flatnonzero(blockers[6:]) + 6
    origin = _turned(viewpoint - scene.center[chosen], scene.yaw[chosen])[:, :, None]  # (B, 3, 1)
    half = scene.half[chosen][:, :, None]
    c, s = np.cos(scene.yaw[chosen])[:, None], np.sin(scene.yaw[chosen])[:, None]
    result = np.zeros(points.shape[1], np.bool_)
    for start in range(0, points.shape[1], _CHUNK):
        x, y, z = points[:, start : start + _CHUNK] - viewpoint[:, None]
        enter = np.full((len(chosen), x.size), 1e-3, np.float32)
        leave = np.full((len(chosen), x.size), 0.995, np.float32)
        for axis, direction in enumerate((c * x - s * z, y[None], s * x + c * z)):
            inverse = 1 / _nonzero(direction)
            middle, reach = -origin[:, axis] * inverse, half[:, axis] * np.abs(inverse)
            np.maximum(enter, middle - reach, out=enter)
            np.minimum(leave, middle + reach, out=leave)
        result[start : start + _CHUNK] = (enter < leave).any(0)
    return result


def surface_normals(
    scene: Scene, directions: Floats, points: Floats, surface: Ints
) -> tuple[Floats, Floats, Ints]:
    """World normals (N, 3) to the viewer, points in their surfaces' own frames (N, 3), main axis of each normal (N,).

    Args:
        scene: The room.
        directions: World directions (N, 3) of the rays.
        points: World points (N, 3) they meet.
        surface: Surface (N,) they meet; 0 to 5 are the faces of the room.
    """
    half, yaw = scene.half[surface], scene.yaw[surface]
    local = _turned(points - scene.center[surface], yaw)
    against = np.where(_turned(directions, yaw) > 0, np.float32(-1), np.float32(1))
    scaled = local / half
    # A box is met on one of the faces turned to the ray, so rounding cannot choose one turned away.
    axis = np.where(surface < 6, surface // 2, (scaled * against).argmax(1))
    normal = np.zeros_like(local)
    rows = np.arange(len(surface))
    normal[rows, axis] = against[rows, axis]
    curved = np.flatnonzero(scene.shape[surface] != Shape.BOX)
    if curved.size:
        cylinder = scene.shape[surface[curved]] == Shape.CYLINDER
        spot, size = scaled[curved], half[curved]
        cap = cylinder & (np.abs(spot[:, 1]) > np.hypot(spot[:, 0], spot[:, 2]))
        outward = spot / size
        outward[cylinder, 1] = 0
        outward /= np.linalg.norm(outward, axis=1, keepdims=True)
        normal[curved] = np.where(cap[:, None], [0, 1, 0] * against[curved], outward)
        axis[curved] = np.where(cap, 1, 2)
    return _turned(normal, -yaw), local, axis


def _turned(vectors: Floats, yaw: Floats) -> Floats:
    """World vectors (N, 3) in frames turned by ``yaw`` (N,); with ``-yaw`` the way back."""
    c, s = np.cos(yaw), np.sin(yaw)
    x, y, z = vectors[:, 0], vectors[:, 1], vectors[:, 2]
    return np.stack([c * x - s * z, y, s * x + c * z], 1)


def _nonzero(directions: Floats) -> Floats:
    return np.where(np.abs(directions) < 1e-7, np.float32(1e-7), directions)


def _room_hits(scene: Scene, directions: Floats) -> tuple[Floats, Ints]:
    """Depth (H, W) and face (H, W) where rays from inside leave the box of the room."""
    ahead = directions > 0
    reach = np.where(ahead, scene.half[0, :, None, None], -scene.half[0, :, None, None])
    steps = (reach - (scene.position - scene.center[0])[:, None, None]) / _nonzero(directions)
    depth = np.minimum(np.minimum(steps[0], steps[1]), steps[2])
    axis = np.where(depth == steps[0], 0, np.where(depth == steps[1], 1, 2))
    faces = ahead + np.array([0, 2, 4])[:, None, None]
    return depth, np.where(axis == 0, faces[0], np.where(axis == 1, faces[1], faces[2]))


def _slab(start: float, half: float, inverse: Floats) -> tuple[Floats, Floats]:
    middle, reach = inverse * np.float32(-start), np.abs(inverse) * np.float32(half)
    return middle - reach, middle + reach


def _box_span(
    origin: list[float], half: list[float], local: Floats, inverse: Floats
) -> tuple[Floats, Floats]:
    enter, leave = _slab(origin[0], half[0], inverse[0])
    for axis in (1, 2):
        near, far = _slab(origin[axis], half[axis], inverse[axis])
        np.maximum(enter, near, out=enter)
        np.minimum(leave, far, out=leave)
    return enter, leave


def _quadric_span(
    origin: list[float], half: list[float], local: Floats, axes: tuple[int, ...]
) -> tuple[Floats, Floats]:
    a = sum((local[k] * np.float32(1 / half[k])) ** 2 for k in axes)
    b = sum(local[k] * np.float32(origin[k] / half[k] ** 2) for k in axes)
    c = np.float32(sum((origin[k] / half[k]) ** 2 for k in axes) - 1)
    square = b * b - a * c
    root = np.sqrt(np.maximum(square, 0))
    return np.where(square > 0, (-b - root) / a, np.float32(np.inf)), (root - b) / a


def _cylinder_span(
    origin: list[float], half: list[float], local: Floats, inverse: Floats
) -> tuple[Floats, Floats]:
    enter, leave = _quadric_span(origin, half, local, (0, 2))
    near, far = _slab(origin[1], half[1], inverse[1])
    return np.maximum(enter, near), np.minimum(leave, far)


def _sphere_span(
    origin: list[float], half: list[float], local: Floats, inverse: Floats
) -> tuple[Floats, Floats]:
    return _quadric_span(origin, half, local, (0, 1, 2))


_SPANS = {Shape.BOX: _box_span, Shape.CYLINDER: _cylinder_span, Shape.SPHERE: _sphere_span}
