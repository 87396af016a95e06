"""Predictions and targets of the dense tasks as pictures."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from secateur.data.pictures import (
    DARK,
    depth_picture,
    legend,
    map_picture,
    normal_picture,
    palette,
    segmentation_picture,
)


def test_segmentation_pictures_of_logits_and_labels_agree() -> None:
    labels = torch.tensor([[0, 1, 2], [3, 0, 1]])
    logits = F.one_hot(labels, 4).permute(2, 0, 1).float()
    shown = segmentation_picture(labels)
    assert (shown.shape, shown.dtype) == ((2, 3, 3), torch.uint8)
    assert torch.equal(shown, segmentation_picture(logits))
    labels[0, 0] = 255
    assert segmentation_picture(labels)[0, 0].tolist() == list(DARK)
    assert torch.equal(segmentation_picture(labels)[1], shown[1])
    assert segmentation_picture(torch.full((2, 2), 255)).unique().tolist() == [40]


def test_a_legend_without_names_says_what_has_no_label() -> None:
    assert palette(0).shape == (0, 3)
    assert legend(segmentation_picture, ())["colours"] == [["no label", "#282828"]]
    assert legend(segmentation_picture, ("wall",))["colours"] == [
        ["wall", "#4363d8"],
        ["no label", "#282828"],
    ]


def test_the_palette_tells_forty_classes_apart() -> None:
    colours = palette(40).int()
    gap = (colours[:, None] - colours[None]).abs().sum(-1) + 999 * torch.eye(40, dtype=torch.int32)
    assert int(gap.min()) >= 20
    assert torch.equal(palette(40)[:13], palette(13))


def test_normal_pictures_ignore_length_and_darken_what_is_invalid() -> None:
    x = torch.zeros(3, 1, 3)
    x[:, 0, 0] = torch.tensor([0.0, 0.0, -1.0])
    x[:, 0, 1] = torch.tensor([5.0, 0.0, 0.0])
    assert normal_picture(x)[0].tolist() == [[128, 128, 0], [255, 128, 128], list(DARK)]


def test_depth_pictures_have_a_fixed_logarithmic_range() -> None:
    metres = torch.tensor([0.1, 0.7, 0.7 * (10 / 0.7) ** 0.5, 10.0, 50.0, 0.0, -1.0]).view(1, 1, 7)
    near, nearest, middle, far, farther, none, negative = depth_picture(metres)[0].tolist()
    assert near == nearest == [253, 231, 37]
    assert far == farther == [68, 1, 84]
    assert middle == [33, 145, 140]
    assert none == negative == list(DARK)


def test_map_pictures_are_grey() -> None:
    assert map_picture(torch.tensor([[[0.0, 0.5, 1.0, 2.0, -1.0]]]))[0, :, 0].tolist() == [
        0,
        128,
        255,
        255,
        0,
    ]


def test_pictures_take_predictions_with_a_gradient_and_nan() -> None:
    for picture, channels in (
        (segmentation_picture, 4),
        (normal_picture, 3),
        (depth_picture, 1),
        (map_picture, 1),
    ):
        shown = picture(torch.full((channels, 2, 3), float("nan")).requires_grad_())
        assert (shown.shape, shown.dtype) == ((2, 3, 3), torch.uint8)
