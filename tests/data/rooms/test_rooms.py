"""The built-in scenes: deterministic, in range, and geometrically consistent."""

from __future__ import annotations

import pytest
import torch

from secateur.data.rooms import rooms
from secateur.data.rooms.cast import focal_length
from secateur.data.rooms.parts import CLASSES
from secateur.data.rooms.rooms import Rooms


@pytest.fixture(scope="module")
def scenes() -> list[dict[str, torch.Tensor]]:
    data = Rooms(200)
    return [data[i] for i in range(len(data))]


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def rays(height: int, width: int) -> torch.Tensor:
    """Viewing rays (3, H, W) in the camera frame, z = 1."""
    focal = focal_length(width)
    x = (torch.arange(width) + 0.5 - width / 2) / focal
    y = (torch.arange(height) + 0.5 - height / 2) / focal
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width), torch.ones(height, width)])


def test_a_scene_is_a_function_of_seed_and_index() -> None:
    one, two = Rooms(8, seed=3), Rooms(8, seed=3)
    backwards = [two[i] for i in reversed(range(8))][::-1]
    assert all(same(one[i], backwards[i]) for i in range(8))
    assert not torch.equal(one[0]["image"], one[1]["image"])
    assert not torch.equal(one[0]["image"], Rooms(8, seed=4)[0]["image"])
    assert same(Rooms(2, seed=3, first=5)[1], one[6])


def test_shapes_and_ranges(scenes: list[dict[str, torch.Tensor]]) -> None:
    for scene in scenes:
        assert scene["image"].shape == scene["normal"].shape == (3, 48, 64)
        assert scene["seg"].shape == (48, 64)
        assert scene["seg"].dtype == torch.int64
        for name in ("image", "edge", "keypoint"):
            assert scene[name].dtype == torch.float32
            assert scene[name].min() >= 0
            assert scene[name].max() <= 1
        assert scene["depth"].shape == (1, 48, 64)
        assert 0 < scene["depth"].min() <= scene["depth"].max() < 10
        assert torch.allclose(scene["normal"].norm(dim=0), torch.ones(48, 64), atol=1e-4)


def test_normals_face_the_camera(scenes: list[dict[str, torch.Tensor]]) -> None:
    towards = rays(48, 64)
    for scene in scenes:
        assert ((scene["normal"] * towards).sum(0) < 1e-3).all()


def test_normals_agree_with_those_of_the_depth(scenes: list[dict[str, torch.Tensor]]) -> None:
    """The cross product of neighbouring back-projected points, on smooth pixels."""
    angles = []
    for scene in scenes[:40]:
        points = scene["depth"] * rays(48, 64)
        across, down = points[:, :-1, 1:] - points[:, :-1, :-1], points[:, 1:, :-1] - points[:, :-1, :-1]
        found = -torch.linalg.cross(across, down, dim=0)
        found = found / found.norm(dim=0).clamp(min=1e-12)
        angle = (found * scene["normal"][:, :-1, :-1]).sum(0).clamp(-1, 1).acos().rad2deg()
        angles.append(angle.flatten())
    assert torch.cat(angles).median() < 2


def test_every_class_occurs(scenes: list[dict[str, torch.Tensor]]) -> None:
    counts = torch.bincount(torch.stack([s["seg"] for s in scenes]).flatten(), minlength=len(CLASSES))
    assert len(counts) == len(CLASSES) == 13
    assert (counts > 0).all()


def test_keypoints_are_sparse_and_present(scenes: list[dict[str, torch.Tensor]]) -> None:
    heat = torch.stack([s["keypoint"] for s in scenes])
    assert 0 < (heat > 0.5).float().mean() < 0.2


def test_data_of_a_problem() -> None:
    data = rooms(tasks=("seg", "edge"), size=(24, 32), batch=2, train_count=8, val_count=2, test_count=3)
    assert data.channels == {"seg": 13, "edge": 1}
    assert data.classes["seg"] == CLASSES
    x, targets = next(iter(data.test))
    assert x.shape == (2, 3, 24, 32)
    assert set(targets) == {"seg", "edge"}
    assert sum(len(x) for x, _ in data.test) == 3
    fourth, straight = next(iter(data.train.from_step(3))), data.train.from_step(0)
    for _ in range(3):
        next(straight)
    assert torch.equal(next(straight)[0], fourth[0])


def test_splits_share_no_scene() -> None:
    data = rooms(size=(24, 32), batch=1, train_count=3, val_count=2, test_count=2)
    images = [x for part in (data.val, data.test) for x, _ in part]
    assert all(not torch.equal(a, b) for i, a in enumerate(images) for b in images[:i])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": (4, 64)}, "at least 8 pixels"),
        ({"train_count": 0}, "train_count=0; give a whole number of at least 1"),
        ({"seed": -1}, "seed=-1"),
        ({"tasks": ("seg", "smell")}, "smell"),
    ],
)
def test_bad_arguments(options: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        rooms(**options)


def test_no_such_scene() -> None:
    with pytest.raises(IndexError, match="index 3 of 3 scenes"):
        Rooms(3)[3]
