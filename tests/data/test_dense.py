from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from secateur.data.augment import Sample
from secateur.data.dense import (
    dense_data,
    dense_tasks,
    depth,
    edge,
    masked_l1,
    normal_loss,
    segmentation,
    segmentation_loss,
    surface_normal,
)
from secateur.data.making import Loading

Loss = Callable[[Tensor, Tensor], Tensor]
DEPTH, EDGE = partial(masked_l1, above=0.0), partial(masked_l1, above=-1.0)
INVALID: list[tuple[Loss, int, Tensor]] = [
    (segmentation_loss, 5, torch.full((2, 8, 12), 255)),
    (normal_loss, 3, torch.zeros(2, 3, 8, 12)),
    (DEPTH, 1, torch.zeros(2, 1, 8, 12)),
    (EDGE, 1, torch.full((2, 1, 8, 12), -1.0)),
]


class Pattern(Dataset[Sample]):
    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> Sample:
        g = torch.Generator().manual_seed(index)
        return {
            "image": torch.rand(3, 8, 12, generator=g),
            "seg": torch.randint(0, 4, (8, 12), generator=g),
            "normal": F.normalize(torch.randn(3, 8, 12, generator=g), dim=0),
            "depth": torch.rand(1, 8, 12, generator=g) * 4 + 1,
            "edge": torch.rand(1, 8, 12, generator=g),
            "keypoint": torch.rand(1, 8, 12, generator=g),
        }


def data(tasks: tuple[str, ...]):
    return dense_data(
        {split: Pattern() for split in ("train", "val", "test")},
        tasks,
        Loading((8, 12), batch=2, seed=0),
        classes=("a", "b", "c", "d"),
        mean=(0.5, 0.5, 0.5),
        std=(0.2, 0.2, 0.2),
    )


@pytest.mark.parametrize(("loss", "channels", "target"), INVALID)
@pytest.mark.parametrize("prediction", [0.0, 1.0])
def test_without_a_valid_pixel_the_loss_is_exactly_zero_and_has_a_zero_gradient(
    loss: Loss, channels: int, target: Tensor, prediction: float
) -> None:
    x = (torch.randn(2, channels, 4, 6) * prediction).requires_grad_()
    value = loss(x, target)
    assert value.item() == 0.0
    value.backward()
    assert x.grad is not None
    assert torch.equal(x.grad, torch.zeros_like(x))


@given(st.integers(0, 1000), st.sampled_from([(8, 12), (4, 6), (3, 5), (16, 24)]))
@settings(max_examples=25, deadline=None)
def test_losses_equal_those_computed_pixel_by_pixel(seed: int, grid: tuple[int, int]) -> None:
    g = torch.Generator().manual_seed(seed)
    h, w = grid
    logits, vectors, metres = (torch.randn(2, c, h, w, generator=g) for c in (4, 3, 1))
    labels = torch.randint(0, 5, (2, 8, 12), generator=g)
    labels[labels == 4] = 255
    normals = F.normalize(torch.randn(2, 3, 8, 12, generator=g), dim=1)
    normals *= torch.rand(2, 1, 8, 12, generator=g) > 0.3
    truth = torch.rand(2, 1, 8, 12, generator=g).sub_(0.3).clamp_(min=0.0)
    entropy, cosine, error = [], [], []
    for n in range(2):
        for i in range(h):
            for j in range(w):
                y, x = int((i + 0.5) * 8 / h), int((j + 0.5) * 12 / w)
                if labels[n, y, x] != 255:
                    entropy.append(-logits[n, :, i, j].log_softmax(0)[labels[n, y, x]])
                if normals[n, :, y, x].any():
                    cosine.append(F.cosine_similarity(vectors[n, :, i, j], normals[n, :, y, x], dim=0))
                if truth[n, 0, y, x] > 0:
                    error.append((metres[n, 0, i, j] - truth[n, 0, y, x]).abs())
    torch.testing.assert_close(segmentation_loss(logits, labels), torch.stack(entropy).mean())
    torch.testing.assert_close(normal_loss(vectors, normals), 1 - torch.stack(cosine).mean())
    torch.testing.assert_close(DEPTH(metres, truth), torch.stack(error).mean())


def test_perfect_predictions_cost_nothing() -> None:
    sample = Pattern()[0]
    assert float(DEPTH(sample["depth"][None], sample["depth"][None])) == 0.0
    assert float(normal_loss(3.0 * sample["normal"][None], sample["normal"][None])) < 1e-6
    logits = 100.0 * F.one_hot(sample["seg"], 4).permute(2, 0, 1)[None].float()
    assert float(segmentation_loss(logits, sample["seg"][None])) < 1e-6


def test_zero_counts_as_a_value_of_an_edge_map_but_not_of_depth() -> None:
    ones, zeros = torch.ones(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    assert float(EDGE(ones, zeros)) == 1.0
    assert float(DEPTH(ones, zeros)) == 0.0


@pytest.mark.parametrize(("loss", "channels", "target"), INVALID)
def test_losses_are_float32_whatever_the_prediction(loss: Loss, channels: int, target: Tensor) -> None:
    assert loss(torch.randn(2, channels, 4, 6, dtype=torch.bfloat16), target).dtype == torch.float32


def test_a_head_with_the_wrong_channels_is_named() -> None:
    with pytest.raises(ValueError, match="give the head 1 output channels"):
        DEPTH(torch.zeros(2, 3, 4, 6), torch.zeros(2, 1, 8, 12))
    with pytest.raises(ValueError, match="give the head 3 output channels"):
        normal_loss(torch.zeros(2, 1, 4, 6), torch.zeros(2, 3, 8, 12))


def test_metrics_have_their_keys_and_say_which_way_is_better() -> None:
    keys = {name: list(task.metrics) for name, (task, _) in dense_tasks(4).items()}
    assert keys == {
        "seg": ["miou", "pixel_accuracy"],
        "normal": ["mean", "median", "within_11.25", "within_22.5", "within_30"],
        "depth": ["abs", "rel", "delta_1", "delta_2", "delta_3"],
        "edge": ["error"],
        "keypoint": ["error"],
    }
    higher = {
        key
        for task, _ in dense_tasks(4).values()
        for key, metric in task.metrics.items()
        if metric.higher_is_better
    }
    assert higher == {
        *(
            "miou",
            "pixel_accuracy",
            "within_11.25",
            "within_22.5",
            "within_30",
            "delta_1",
            "delta_2",
            "delta_3",
        )
    }


def test_metrics_of_perfect_predictions_at_another_resolution() -> None:
    seg = torch.zeros(1, 8, 12, dtype=torch.int64)
    seg[:, :, 6:] = 2
    logits = F.one_hot(seg, 4).permute(0, 3, 1, 2).float()
    metres = torch.full((1, 1, 8, 12), 2.0)
    up = torch.tensor([0.0, 1.0, 0.0]).view(1, 3, 1, 1).repeat(1, 1, 8, 12)
    for task, prediction, target, perfect in (
        (segmentation(4), logits, seg, {"miou": 1.0, "pixel_accuracy": 1.0}),
        (depth(), metres[..., ::2, ::2], metres, {"abs": 0.0, "rel": 0.0, "delta_1": 1.0}),
        (surface_normal(), up[..., ::2, ::2], up, {"mean": 0.0, "median": 0.0, "within_11.25": 1.0}),
        (edge(), metres / 4, metres / 4, {"error": 0.0}),
    ):
        for key, value in perfect.items():
            task.metrics[key].update(prediction, target)
            assert float(task.metrics[key].compute()) == pytest.approx(value, abs=0.02)


def test_dense_data_holds_the_tasks_asked_for_in_their_order() -> None:
    d = data(("depth", "seg"))
    assert list(d.tasks) == ["depth", "seg"]
    assert d.channels == {"depth": 1, "seg": 4}
    assert d.classes == {"seg": ("a", "b", "c", "d")}
    assert (len(list(d.train)), len(list(d.val)), len(list(d.test))) == (2, 3, 3)
    for x, targets in d.train:
        assert isinstance(x, Tensor)
        for name, task in d.tasks.items():
            loss = task.loss(torch.randn(2, d.channels[name], 4, 6), targets[name])
            assert bool(torch.isfinite(loss))
    assert data(("depth",)).classes == {}


def test_dense_data_only_augments_training() -> None:
    d = data(("depth", "normal"))
    plain = torch.stack([Pattern()[i]["depth"] for i in range(2)])
    assert torch.equal(next(iter(d.val))[1]["depth"], plain)
    assert torch.equal(next(iter(d.test))[1]["depth"], plain)
    trained = [tuple(t["depth"].flatten(1).sum(1).tolist()) for _, t in d.train]
    assert trained != [tuple(t["depth"].flatten(1).sum(1).tolist()) for _, t in d.val][:2]


@pytest.mark.parametrize("tasks", [(), ("seg", "seg"), ("seg", "colour")])
def test_unknown_tasks_are_refused(tasks: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="give one or more of"):
        data(tasks)


def test_tasks_can_be_sent_to_another_process() -> None:
    for task, _ in dense_tasks(4).values():
        assert pickle.loads(pickle.dumps(task)).picture is task.picture
