"""Any classification network of torchvision as a chain of named blocks, from image to feature map."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from secateur.problem import preserved_modes
from secateur.zoo.narrow import narrow

Blocks = dict[str, nn.Module]
_SIDE = 224  # of the image that a chain is tried on, where the network does not say itself


_OLD_DENSENET = re.compile(r"^(features\.denseblock\d+\.denselayer\d+\.(?:norm|relu|conv))\.([12]\.\w+)$")


def blocks(name: str, width: float = 1.0, weights: str | None = None, **options: Any) -> tuple[Blocks, int]:
    """The blocks of ``torchvision.models.<name>`` up to its last feature map, in order, and that map's channels.

    A ResNet has stem, layer1_0, layer1_1 and so on to layer4; what torchvision calls ``features`` has block0, block1 and so on. Classifier and
    pooling are left out, as are auxiliary heads.

    Args:
        name: Such as resnet50, mobilenet_v2, efficientnet_b0, convnext_tiny, swin_t, vit_b_16.
        width: Multiplier of every channel count; not for networks with LayerNorm or channel shuffling.
        weights: File with a state dict of the whole network, such as torchvision's pretrained ones, for width 1 alone: a
            slice of its channels has not learnt what they have together. Random if None.
        options: Of the network's function in torchvision.

    Raises:
        ValueError: If torchvision has no such classification network, it is no chain, the width does not divide it, or ``weights``
            are given for another width than 1.
        FileNotFoundError: If ``weights`` is no file.
    """
    import torchvision  # here, because it is as long to import as the rest of the room together

    if name not in torchvision.models.list_models(module=torchvision.models):
        raise ValueError(
            f"backbone {name!r}: torchvision has no such classification network; see torchvision.models.list_models()."
        )
    if weights is not None and width != 1.0:
        raise ValueError(
            f"weights={weights!r} at width {width}: pretrained weights are of the whole network; give width 1, or leave weights out."
        )
    try:
        network: nn.Module = torchvision.models.get_model(name, weights=None, **{**_quiet(name), **options})
    except TypeError as error:
        raise ValueError(f"backbone {name!r} does not take options={options}: {error}.") from error
    if weights is not None:
        _load(network, weights)
    if width != 1.0:
        try:
            narrow(network, width)
        except ValueError as error:
            raise ValueError(
                f"backbone {name!r} cannot be had at width {width}: {error}. Give another, such as 0.5 or 1."
            ) from error
    found = dict(_chain(network))
    if not found:
        raise ValueError(
            f"backbone {name!r} is no chain of blocks; choose one of the families of ResNet, MobileNet, EfficientNet, "
            "RegNet, ConvNeXt, DenseNet, Swin or ViT."
        )
    return found, _channels(name, found, width, getattr(network, "image_size", _SIDE))


def _quiet(name: str) -> dict[str, Any]:
    """Keeps the Inception family from warning about an initialisation that it takes long for."""
    return {"init_weights": False, "aux_logits": False} if name in ("googlenet", "inception_v3") else {}


def _chain(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    from torchvision import models

    part = dict(network.named_children())
    if "layer1" in part:  # ResNet, ResNeXt, Wide ResNet
        yield "stem", nn.Sequential(part["conv1"], part["bn1"], part["relu"], part["maxpool"])
        for stage in ("layer1", "layer2", "layer3", "layer4"):
            yield from ((f"{stage}_{n}", m) for n, m in part[stage].named_children())
    elif "stage2" in part:  # ShuffleNetV2
        yield "stem", nn.Sequential(part["conv1"], part["maxpool"])
        yield from ((n, part[n]) for n in ("stage2", "stage3", "stage4", "conv5"))
    elif "trunk_output" in part:  # RegNet
        yield "stem", part["stem"]
        yield from part["trunk_output"].named_children()
    elif "conv_proj" in part:  # ViT
        yield "embed", _Embed(network)
        yield from part["encoder"].get_submodule("layers").named_children()
        yield "norm", _Unroll(part["encoder"].get_submodule("ln"))
    elif "blocks" in part and "stem" in part:  # MaxViT
        yield "stem", part["stem"]
        yield from ((f"block{n}", m) for n, m in part["blocks"].named_children())
    elif "fc" in part:  # GoogLeNet, Inception
        yield from ((n, m) for n, m in part.items() if n not in ("fc", "avgpool", "dropout", "AuxLogits"))
    elif "features" in part or "layers" in part:  # VGG to Swin
        features = part.get("features", part.get("layers"))
        assert features is not None
        yield from ((f"block{n}" if n.isdigit() else n, m) for n, m in features.named_children())
        if isinstance(network, models.DenseNet):
            yield "relu", nn.ReLU()
        if isinstance(network, models.SwinTransformer):
            yield "norm", nn.Sequential(part["norm"], part["permute"])


def _load(network: nn.Module, weights: str) -> None:
    path = Path(weights)
    if not path.is_file():
        raise FileNotFoundError(
            f"weights={weights!r} is no file; give one with the network's state dict, or leave it out to begin at random."
        )
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the bytes lead it to
        raise ValueError(f"{weights} cannot be read ({error}); give a file that torch.save wrote.") from error
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(f"{weights} holds no state dict; save network.state_dict() with torch.save.")
    state = {_OLD_DENSENET.sub(r"\1\2", n): v for n, v in state.items()}
    head = {
        n for n, _ in network.named_parameters() if n.split(".")[0] in ("fc", "classifier", "heads", "head")
    }
    kept = {n: v for n, v in state.items() if n not in head and not n.startswith(("aux", "AuxLogits"))}
    shapes = {n: tuple(v.shape) for n, v in network.state_dict().items()}
    other = [n for n, v in kept.items() if n in shapes and tuple(v.shape) != shapes[n]]
    if other:
        raise ValueError(
            f"{weights} is not of this network: {other[0]} is {tuple(kept[other[0]].shape)}, not {shapes[other[0]]}; "
            "give the state dict that torchvision saves for it."
        )
    missing, unexpected = network.load_state_dict(kept, strict=False)
    lacking = sorted(set(missing) - head)
    if lacking or unexpected:
        raise ValueError(
            f"{weights} is not of this network: it lacks {lacking[:3]} and has {list(unexpected)[:3]} too many; "
            "give the state dict that torchvision saves for it."
        )


def _channels(name: str, found: Blocks, width: float, side: int) -> int:
    try:
        with preserved_modes(nn.ModuleList(found.values())), torch.no_grad():
            x = torch.zeros(1, 3, side, side)
            for block in found.values():
                x = block.eval()(x)
    except RuntimeError as error:
        raise ValueError(
            f"backbone {name!r} does not run at width {width}: {error}. Give another width, such as 0.5 or 1."
        ) from error
    return x.shape[1]


class _Embed(nn.Module):
    """Image to class token and patches with their positions (Dosovitskiy et al. 2021, Eq. 1)."""

    def __init__(self, vit: Any) -> None:
        super().__init__()
        self.project, self.token = vit.conv_proj, vit.class_token
        self.positions, self.dropout = vit.encoder.pos_embedding, vit.encoder.dropout
        self.side: int = vit.image_size

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 1 + patches, D).

        Raises:
            ValueError: If the image is not of the size that the positions are for.
        """
        if tuple(x.shape[-2:]) != (self.side, self.side):
            raise ValueError(
                f"The images are {x.shape[-2]}x{x.shape[-1]}; this ViT takes {self.side}x{self.side}. Give images of that size, or "
                "options={'image_size': ...}."
            )
        patches = self.project(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(x.shape[0], -1, -1), patches], 1)
        return self.dropout(tokens + self.positions)


class _Unroll(nn.Module):
    """Normalised patches as a square map again, without the class token."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1 + side * side, D) -> (N, D, side, side)."""
        x = self.norm(x)[:, 1:].transpose(1, 2)
        side = int(x.shape[-1] ** 0.5)
        return x.unflatten(2, (side, side))
