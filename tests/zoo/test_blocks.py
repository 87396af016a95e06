"""Any classification network of torchvision as a chain of blocks: its features, its weights, its sizes."""

from __future__ import annotations

import re

import pytest
import torch
import torchvision
from torch import Tensor, nn

from secateur.zoo import independent, mobilenetv2_aspp, separate_bottom, shared_bottom
from secateur.zoo.blocks import blocks
from secateur.zoo.sharing import split_at

DOMAINS = {"photo": 3, "sketch": 4}
FAMILIES = [
    "alexnet", "squeezenet1_0", "densenet121", "resnet18", "mobilenet_v2", "mobilenet_v3_small", "shufflenet_v2_x0_5",
    "convnext_tiny", "swin_t",
]  # fmt: skip
LARGE = [
    pytest.param(name, marks=pytest.mark.slow)
    for name in (
        "vgg11_bn",
        "resnext50_32x4d",
        "vit_b_16",
        "googlenet",
        "mnasnet0_5",
        "efficientnet_b0",
        "regnet_y_400mf",
        "maxvit_t",
    )
]  # as alexnet's, resnet18's, mobilenet's; test_a_vit_of_another_image_size


@pytest.mark.parametrize("name", [*FAMILIES, *LARGE])
def test_any_classification_network_is_a_chain_of_its_own_features(name: str) -> None:
    torch.manual_seed(0)
    chain, channels = blocks(name)
    torch.manual_seed(0)
    extra = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    whole = torchvision.models.get_model(name, weights=None, **extra).eval()
    x = torch.randn(1, 3, 224, 224)
    seen: list[Tensor] = []
    tapped = {
        "vit_b_16": "encoder",
        "mnasnet0_5": "layers",
        "shufflenet_v2_x0_5": "conv5",
        "maxvit_t": "blocks.3",
    }
    if name in tapped or name in ("mobilenet_v2", "squeezenet1_0", "densenet121"):
        layer = whole.get_submodule(tapped.get(name, "features"))
        layer.register_forward_hook(lambda _, __, out: seen.append(out))
    else:
        pool = next(m for m in whole.children() if isinstance(m, nn.AdaptiveAvgPool2d))
        pool.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        whole(x)
        y = x
        for block in chain.values():
            y = block.eval()(y)
    expected = seen[0].relu() if name == "densenet121" else seen[0]
    if name == "vit_b_16":
        expected = expected[:, 1:].transpose(1, 2).unflatten(2, (14, 14))
    assert y.shape[1] == channels
    torch.testing.assert_close(y, expected)


def test_a_split_names_a_block_a_stage_or_a_number() -> None:
    chain, _ = blocks("resnet18", 0.125)
    assert list(chain)[:3] == ["stem", "layer1_0", "layer1_1"]
    assert (
        split_at(chain, "layer2")
        == split_at(chain, "layer2_0")
        == split_at(chain, 3)
        == split_at(chain, "3")
        == 3
    )
    for wrong in ("layer9", 99, "99"):
        with pytest.raises(ValueError, match="layer1_0"):
            split_at(chain, wrong)


def test_pretrained_weights_of_the_user_are_loaded(tmp_path) -> None:
    torch.manual_seed(0)
    whole = torchvision.models.resnet18(weights=None)
    path = tmp_path / "resnet18.pth"
    torch.save(whole.state_dict(), path)
    model = separate_bottom(DOMAINS, "resnet18", "layer2", weights=str(path))
    for task in DOMAINS:
        assert torch.equal(model.own[task].stem[0].weight, whole.conv1.weight)
    assert torch.equal(model.shared.layer4_1.conv2.weight, whole.layer4[1].conv2.weight)
    with pytest.raises(ValueError, match="not of this network"):
        separate_bottom(DOMAINS, "resnet34", "layer2", weights=str(path))
    with pytest.raises(FileNotFoundError, match="no file"):
        separate_bottom(DOMAINS, "resnet18", "layer2", weights=str(tmp_path / "none.pth"))


def test_weights_of_another_kind_are_refused_by_name(tmp_path) -> None:
    corrupt, listed, wide = (tmp_path / f"{name}.pth" for name in ("corrupt", "listed", "wide"))
    corrupt.write_bytes(b"no archive")
    torch.save([1, 2], listed)
    torch.save(torchvision.models.resnet50(weights=None).state_dict(), wide)
    for path, said in ((corrupt, "cannot be read"), (listed, "holds no state dict")):
        with pytest.raises(ValueError, match=f"{path.name} {said}"):
            separate_bottom(DOMAINS, "resnet18", weights=str(path))
    with pytest.raises(ValueError, match=r"wide\.pth is not of this network: layer1\.0\.conv1\.weight is"):
        separate_bottom(DOMAINS, "wide_resnet50_2", weights=str(wide))


def test_published_densenet_files_have_other_names(tmp_path) -> None:
    torch.manual_seed(0)
    whole = torchvision.models.densenet121(weights=None)
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", n): v for n, v in whole.state_dict().items()
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    torch.save(old, tmp_path / "densenet121.pth")
    chain, _ = blocks("densenet121", weights=str(tmp_path / "densenet121.pth"))
    assert torch.equal(
        chain["denseblock4"].denselayer16.conv2.weight, whole.features.denseblock4.denselayer16.conv2.weight
    )


def test_a_vit_of_another_image_size() -> None:
    with pytest.raises(ValueError, match=r"'vit_b_16' does not take options={'num_layers': 1}"):
        shared_bottom(DOMAINS, "vit_b_16", options={"num_layers": 1})
    with torch.device("meta"):  # 86 million weights that nobody looks at
        model = shared_bottom(DOMAINS, "vit_b_16", options={"image_size": 64}).eval()
        assert model(torch.randn(1, 3, 64, 64))["photo"].shape == (1, 3)
        with pytest.raises(ValueError, match=r"images are 32x32; this ViT takes 64x64.*image_size"):
            model(torch.randn(1, 3, 32, 32))


def test_mobilenetv2_takes_torchvisions_state_dict(tmp_path) -> None:
    torch.manual_seed(0)
    whole = torchvision.models.mobilenet_v2(weights=None)
    path = tmp_path / "mobilenet_v2.pth"
    torch.save(whole.state_dict(), path)
    model = mobilenetv2_aspp({"depth": 1}, weights=str(path))
    loaded = {n: v for n, v in model.state_dict().items() if "shared" in n}
    stored = {n: v for n, v in whole.state_dict().items() if n.startswith("features.")}
    assert len(loaded) == len(stored) > 300
    for (name, found), value in zip(loaded.items(), stored.values(), strict=True):
        assert torch.equal(found, value), name


@pytest.mark.parametrize("make", [separate_bottom, shared_bottom, independent, mobilenetv2_aspp])
def test_pretrained_weights_are_not_cut_to_a_width(make, tmp_path) -> None:
    with pytest.raises(ValueError, match=r"w.pth' at width 0.5: pretrained .*give width 1, or leave"):
        make(DOMAINS, width=0.5, weights=str(tmp_path / "w.pth"))
