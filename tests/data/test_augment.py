from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from secateur.data.augment import flip, nearest, normalise, random_view, resize, zoom

FOCAL = 60.0
seeds = st.integers(0, 10_000)


def random_sample(seed: int = 0, height: int = 12, width: int = 16) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(seed)
    return {
        "image": torch.rand(3, height, width, generator=g),
        "seg": torch.randint(0, 5, (height, width), generator=g),
        "normal": F.normalize(torch.randn(3, height, width, generator=g), dim=0),
        "depth": torch.rand(1, height, width, generator=g) + 0.5,
        "edge": torch.rand(1, height, width, generator=g),
    }


def rays(height: int, width: int, focal: float, top: float = 0.0, left: float = 0.0) -> Tensor:
    """Directions (3, H, W) with z = 1 of a camera whose window begins at (top, left) of a 48x64 frame."""
    v = (torch.arange(height) + 0.5 + top - 24.0) / focal
    u = (torch.arange(width) + 0.5 + left - 32.0) / focal
    return torch.stack([u.expand(height, width), v[:, None].expand(height, width), torch.ones(height, width)])


def plane(normal: Tensor, distance: float) -> dict[str, Tensor]:
    """A 48x64 sample of the plane normal . X = -distance, the normal pointing to the camera."""
    depth = -distance / (normal.view(3, 1, 1) * rays(48, 64, FOCAL)).sum(0)
    return {
        "image": torch.zeros(3, 48, 64),
        "depth": depth[None],
        "normal": normal.view(3, 1, 1).repeat(1, 48, 64),
    }


def slant(seed: int) -> Tensor:
    """A unit normal that faces the camera within about 35 degrees."""
    x, y = np.random.default_rng(seed).uniform(-0.5, 0.5, 2)
    return F.normalize(torch.tensor([x, y, -1.0], dtype=torch.float32), dim=0)


def normals_from_depth(depth: Tensor) -> Tensor:
    """(3, 47, 63): cross product of the finite differences of the back-projected points, towards the camera."""
    points = depth * rays(48, 64, FOCAL)
    across, down = points[:, :-1, 1:] - points[:, :-1, :-1], points[:, 1:, :-1] - points[:, :-1, :-1]
    return F.normalize(torch.linalg.cross(down, across, dim=0), dim=0)


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_flip_twice_is_the_identity(seed: int) -> None:
    sample = random_sample(seed)
    assert same(flip(flip(sample)), sample)
    assert not same(flip(sample), sample)


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_flip_keeps_normals_consistent_with_depth(seed: int) -> None:
    flipped = flip(plane(slant(seed), 2.0))
    torch.testing.assert_close(
        flipped["normal"][:, :-1, :-1], normals_from_depth(flipped["depth"]), atol=2e-3, rtol=0
    )


def test_flip_leaves_its_argument_alone() -> None:
    sample = random_sample()
    flip(sample)
    assert same(sample, random_sample())


@given(st.floats(1.0, 3.0), st.floats(0, 1), st.floats(0, 1), st.floats(0.5, 8.0))
@settings(max_examples=30, deadline=None)
def test_zoom_on_a_frontal_plane_divides_depth_exactly(
    scale: float, top: float, left: float, distance: float
) -> None:
    zoomed = zoom(plane(torch.tensor([0.0, 0.0, -1.0]), distance), scale, top, left)
    torch.testing.assert_close(zoomed["depth"], torch.full((1, 48, 64), distance / scale))


@given(seeds, st.sampled_from([1.2, 1.5, 2.0]), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_zoom_keeps_depth_and_normals_of_a_slanted_plane_consistent(
    seed: int, scale: float, top: float, left: float
) -> None:
    normal = slant(seed)
    zoomed = zoom(plane(normal, 2.0), scale, top, left)
    h, w = round(48 / scale), round(64 / scale)
    y, x = round(top * (48 - h)), round(left * (64 - w))
    v = (
        y + (torch.arange(48) + 0.5) * h / 48 - 24.0
    ) / FOCAL  # rays of the longer lens that looks at the crop
    u = (x + (torch.arange(64) + 0.5) * w / 64 - 32.0) / FOCAL
    points = zoomed["depth"] * torch.stack([u.expand(48, 64), v[:, None].expand(48, 64), torch.ones(48, 64)])
    distance = -(points * zoomed["normal"]).sum(0)
    torch.testing.assert_close(distance, torch.full((48, 64), 2.0 / scale), rtol=0.02, atol=0)
    assert torch.equal(zoomed["normal"], normal.view(3, 1, 1).expand(3, 48, 64))


def test_zoom_takes_the_place_asked_for() -> None:
    sample = {"image": torch.zeros(3, 4, 4), "seg": torch.arange(16).view(4, 4)}
    corner = zoom(sample, 2.0, 1.0, 0.0)["seg"]
    assert corner.tolist() == [[8, 8, 9, 9], [8, 8, 9, 9], [12, 12, 13, 13], [12, 12, 13, 13]]
    assert zoom(sample, 1.0) is sample


@pytest.mark.parametrize(
    "arguments", [(0.9, 0.5, 0.5), (1.2, -0.1, 0.5), (1.2, 0.5, 1.1), (float("nan"), 0.5, 0.5)]
)
def test_zoom_refuses_what_is_out_of_range(arguments: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="scale must be >= 1"):
        zoom(random_sample(), *arguments)


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 20), st.integers(1, 20))
@settings(max_examples=50, deadline=None)
def test_nearest_takes_the_pixel_under_the_centre(height: int, width: int, h: int, w: int) -> None:
    x = torch.arange(height * width, dtype=torch.float64).view(1, 1, height, width)
    rows = [int(np.floor(round((i + 0.5) * height / h, 9))) for i in range(h)]
    columns = [int(np.floor(round((i + 0.5) * width / w, 9))) for i in range(w)]
    assert torch.equal(nearest(x, (h, w)), x[:, :, rows][:, :, :, columns])


def test_resize_keeps_depth_values_and_means_of_the_image() -> None:
    sample = random_sample()
    small = resize(sample, (6, 8))
    assert small["image"].shape == (3, 6, 8)
    assert torch.equal(small["depth"], sample["depth"][:, 1::2, 1::2])
    assert torch.equal(small["seg"], sample["seg"][1::2, 1::2])
    torch.testing.assert_close(small["image"].mean((1, 2)), sample["image"].mean((1, 2)), atol=0.05, rtol=0)
    assert resize(sample, (12, 16)) is sample


def test_resize_does_not_alias() -> None:
    stripes = torch.arange(64).remainder(2).float().expand(3, 64, 64)
    small = resize({"image": stripes.contiguous()}, (16, 16))["image"]
    assert float((small[:, :, 1:-1] - 0.5).abs().max()) < 0.05


def test_normalise_is_undone_by_hand() -> None:
    image = random_sample()["image"]
    kept = image.clone()
    normal = normalise(image, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    torch.testing.assert_close(normal[1] * 0.3 + 0.4, image[1])
    assert torch.equal(image, kept)


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_random_view_is_a_function_of_its_generator(seed: int) -> None:
    sample = random_sample()
    a, b = np.random.default_rng(seed), np.random.default_rng(seed)
    view = random_view(sample, a)
    assert same(dict(view), dict(random_view(sample, b)))
    b = np.random.default_rng(seed)
    b.random(4)
    assert a.random() == b.random()  # four draws, always
    assert {k: (v.shape, v.dtype) for k, v in view.items()} == {
        k: (v.shape, v.dtype) for k, v in sample.items()
    }


def test_random_view_draws_every_scale_and_both_sides() -> None:
    sample = {"image": torch.zeros(3, 6, 6), "depth": torch.ones(1, 6, 6), "normal": torch.ones(3, 6, 6)}
    views = [random_view(sample, np.random.default_rng(seed)) for seed in range(60)]
    assert {round(float(v["depth"].mean()), 3) for v in views} == {1.0, 0.833, 0.667}
    assert {float(v["normal"][0, 0, 0]) for v in views} == {1.0, -1.0}


@given(seeds)
@settings(max_examples=20)
def test_a_label_of_the_whole_image_stays(seed: int) -> None:
    labels = {name: torch.tensor(3) for name in ("label", "normal", "depth", "seg", "edge")}
    labels["smiling"] = torch.tensor(1.0)
    sample = {"image": random_sample(seed)["image"], **labels}
    rng = np.random.default_rng(seed)
    for view in (random_view(sample, rng), flip(sample), zoom(sample, 1.5), resize(sample, (6, 8))):
        assert all(torch.equal(view[name], label) for name, label in labels.items())
