"""Sharing patterns of any torchvision backbone, and any such backbone with dense heads, one line each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from torch import nn

from secateur.problem import check_choice, is_count, is_number
from secateur.zoo.aspp import ASPPHead
from secateur.zoo.blocks import Blocks, blocks
from secateur.zoo.deeplabv3_head import DeepLabV3Head
from secateur.zoo.sharing import HardSharing, Norm, match_budget, split_at

Head = Literal["classifier", "aspp", "deeplabv3"]


def separate_bottom(
    tasks: Mapping[str, int],
    backbone: str = "resnet18",
    split: str = "layer2",
    *,
    width: float = 1.0,
    norm: Norm = "shared",
    head: Head = "classifier",
    head_width: float | None = None,
    weights: str | None = None,
    options: dict[str, Any] | None = None,
) -> HardSharing:
    """Each task its own blocks below ``split``, all tasks the same blocks from there on (arXiv 2107.11359).

    Args:
        tasks: Task to the number of its outputs.
        backbone: A classification network of torchvision, such as resnet18 or mobilenet_v2.
        split: The first shared block, such as layer2 or block3, or the number of separate blocks.
        width: Multiplier of every channel count.
        norm: BatchNorm of the shared blocks: for each task, or shared.
        head: ``classifier``: pooling and one linear layer; ``aspp`` or ``deeplabv3`` for dense tasks.
        head_width: Multiplier of the channels inside ``aspp`` (1024) and ``deeplabv3`` (256) heads; ``width`` if left out.
        weights: File with the backbone's pretrained state dict, for width 1 alone; random if left out.
        options: Of the backbone's function in torchvision.

    Raises:
        ValueError: If a name, number or file does not fit.
        FileNotFoundError: If ``weights`` is no file.
    """
    check_choice("norm", norm, Norm)
    check_choice("head", head, Head)
    make, channels = _maker(backbone, width, weights, options)
    return HardSharing(
        make,
        _heads(tasks, channels, _head_width(head, width, head_width), head),
        split_at(make(), split),
        "bottom",
        norm,
    )


def shared_bottom(
    tasks: Mapping[str, int],
    backbone: str = "resnet18",
    split: str | None = None,
    *,
    budget_of: str | None = None,
    width: float = 1.0,
    norm: Norm = "shared",
    head: Head = "classifier",
    head_width: float | None = None,
    weights: str | None = None,
    options: dict[str, Any] | None = None,
) -> HardSharing:
    """The usual hard sharing: all tasks the same blocks below ``split``, each its own from there on.

    Args:
        tasks: Task to the number of its outputs.
        backbone: A classification network of torchvision.
        split: The first block that each task has for itself; only the heads are separate if left out.
        budget_of: Instead: a split of :func:`separate_bottom`, whose number of task-specific parameters this one comes closest to.
        width: Multiplier of every channel count.
        norm: BatchNorm of the shared blocks: for each task, or shared.
        head: ``classifier``, ``aspp`` or ``deeplabv3``.
        head_width: Multiplier of the channels inside ``aspp`` (1024) and ``deeplabv3`` (256) heads; ``width`` if left out.
        weights: File with the backbone's pretrained state dict, for width 1 alone.
        options: Of the backbone's function in torchvision.

    Raises:
        ValueError: If a name, number or file does not fit, or both splits are given.
        FileNotFoundError: If ``weights`` is no file.
    """
    if split is not None and budget_of is not None:
        raise ValueError(f"shared_bottom: split is {split!r} and budget_of {budget_of!r}; give one of them.")
    check_choice("norm", norm, Norm)
    check_choice("head", head, Head)
    make, channels = _maker(backbone, width, weights, options)
    chain = make()
    if budget_of is not None:
        below = match_budget(chain, budget_of, norm)
    else:
        below = len(chain) if split is None else split_at(chain, split)
    return HardSharing(
        make, _heads(tasks, channels, _head_width(head, width, head_width), head), below, "top", norm
    )


def independent(
    tasks: Mapping[str, int],
    backbone: str = "resnet18",
    *,
    width: float = 1.0,
    head: Head = "classifier",
    head_width: float | None = None,
    weights: str | None = None,
    options: dict[str, Any] | None = None,
) -> HardSharing:
    """A whole backbone for each task; nothing is shared.

    Args:
        tasks: Task to the number of its outputs.
        backbone: A classification network of torchvision.
        width: Multiplier of every channel count.
        head: ``classifier``, ``aspp`` or ``deeplabv3``.
        head_width: Multiplier of the channels inside ``aspp`` (1024) and ``deeplabv3`` (256) heads; ``width`` if left out.
        weights: File with the backbone's pretrained state dict, for width 1 alone.
        options: Of the backbone's function in torchvision.

    Raises:
        ValueError: If a name, number or file does not fit.
        FileNotFoundError: If ``weights`` is no file.
    """
    check_choice("head", head, Head)
    make, channels = _maker(backbone, width, weights, options)
    return HardSharing(
        make, _heads(tasks, channels, _head_width(head, width, head_width), head), len(make()), "bottom"
    )


def mobilenetv2_aspp(
    tasks: Mapping[str, int],
    width: float = 1.0,
    weights: str | None = None,
    head_width: float | None = None,
) -> HardSharing:
    """MobileNetV2 with ASPP heads as in AdapMTL; 156,569,520 parameters for ``{"seg": 40, "normal": 3, "depth": 1}``.

    The output stride is 32.

    Args:
        tasks: Task to the number of its output channels.
        width: Multiplier of every channel count.
        weights: File with torchvision's state dict of mobilenet_v2, for width 1 alone.
        head_width: Multiplier of the 1024 channels inside each head; ``width`` if left out. The heads are 98 % of the network, so
            this is what makes it small.

    Raises:
        ValueError: If a width is out of range or the file is of another network.
        FileNotFoundError: If ``weights`` is no file.
    """
    return shared_bottom(
        tasks, "mobilenet_v2", width=width, head="aspp", head_width=head_width, weights=weights
    )


def _maker(
    backbone: str, width: float, weights: str | None, options: dict[str, Any] | None
) -> tuple[Callable[[], Blocks], int]:
    def make() -> Blocks:
        return blocks(backbone, width, weights, **(options or {}))[0]

    return make, blocks(backbone, width, None, **(options or {}))[1]


def _head_width(head: Head, width: float, own: float | None) -> float:
    if own is None:
        return width
    if head == "classifier":
        raise ValueError("head_width is given, but a classifier has no channels inside; leave it out.")
    if not is_number(own) or not 0 < own <= 4:
        raise ValueError(f"head_width is {own}; give a number above 0 and at most 4.")
    return own


def _heads(tasks: Mapping[str, int], channels: int, width: float, head: Head) -> dict[str, nn.Module]:
    if not tasks or not all(map(is_count, tasks.values())):
        raise ValueError(f"tasks is {dict(tasks)}; give {{task: outputs}} with at least 1 output each.")
    if head == "classifier":
        return {
            task: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, outputs))
            for task, outputs in tasks.items()
        }
    if head == "aspp":
        return {t: ASPPHead(channels, max(1, round(1024 * width)), n) for t, n in tasks.items()}
    return {t: DeepLabV3Head(channels, max(1, round(256 * width)), n) for t, n in tasks.items()}
