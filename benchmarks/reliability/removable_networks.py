"""The networks of removable.py: name to what builds it, its input, and the library that it is of. No weights are loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Built = tuple[nn.Module, Any]

TORCHVISION = [
    "resnet18", "resnext50_32x4d", "densenet121", "googlenet", "squeezenet1_0",
    "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0", "regnet_x_400mf", "regnet_y_400mf",
    "convnext_tiny", "shufflenet_v2_x0_5", "mnasnet0_5", "swin_t",
]  # fmt: skip
SEGMENTATION = ["deeplabv3_mobilenet_v3_large", "fcn_resnet50", "lraspp_mobilenet_v3_large"]
TIMM = [  # name, side of the image
    ("resnet26d", 64), ("resnest14d", 64), ("ecaresnet26t", 64), ("skresnet18", 64),
    ("regnety_002", 64), ("efficientnet_lite0", 64), ("mobilenetv3_small_050", 64), ("mobilenetv4_conv_small_050", 64),
    ("mnasnet_small", 64), ("ghostnet_050", 64), ("ghostnetv2_100", 64), ("densenet121", 64),
    ("hrnet_w18_small", 64), ("dla34", 64), ("vovnet39a", 64), ("rexnet_100", 64),
    ("repvgg_a0", 64), ("convnext_atto", 64), ("convnextv2_atto", 64),
    ("vit_tiny_patch16_224", 224), ("deit_tiny_patch16_224", 224), ("swin_tiny_patch4_window7_224", 224),
    ("pvt_v2_b0", 64), ("poolformer_s12", 64),
    ("poolformerv2_s12", 64), ("levit_128s", 224), ("xcit_nano_12_p16_224", 224),
    ("edgenext_xx_small", 64), ("mobilevit_xxs", 64), ("fastvit_t8", 64),
    ("mixer_s32_224", 224), ("res2net50_14w_8s", 64), ("maxvit_pico_rw_256", 256), ("nfnet_l0", 64), ("selecsls42", 64),
    ("crossvit_tiny_240", 240), ("focalnet_tiny_srf", 64),
    ("starnet_s1", 64), ("efficientvit_b0", 64),
    ("lcnet_035", 64), ("pit_ti_224", 224),
    ("visformer_tiny", 224), ("eva02_tiny_patch14_224", 224),
]  # fmt: skip
SMP = [
    "Unet",
    "UnetPlusPlus",
    "FPN",
    "PSPNet",
    "DeepLabV3Plus",
    "Linknet",
    "MAnet",
    "PAN",
    "Segformer",
    "UPerNet",
    "DPT",
]
_SMALL = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "vocab_size": 101,
}
_SIGHT = {"image_size": 64, "num_labels": 5}
TRANSFORMERS: dict[str, tuple[str, dict[str, Any]]] = {  # class, settings of its configuration
    "bert": ("BertForSequenceClassification", _SMALL),
    "roberta": ("RobertaForTokenClassification", _SMALL),
    "electra": ("ElectraForSequenceClassification", _SMALL | {"embedding_size": 48}),
    "albert": ("AlbertForSequenceClassification", _SMALL | {"embedding_size": 48}),
    "distilbert": ("DistilBertForSequenceClassification", {"dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 96, "vocab_size": 101}),
    "mpnet": ("MPNetForSequenceClassification", _SMALL),
    "deberta-v2": ("DebertaV2ForSequenceClassification", _SMALL),
    "gpt2": ("GPT2LMHeadModel", {"n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 101, "n_positions": 64}),
    "opt": ("OPTForCausalLM", _SMALL | {"ffn_dim": 96, "word_embed_proj_dim": 64}),
    "llama": ("LlamaForCausalLM", _SMALL | {"num_key_value_heads": 2}),
    "mistral": ("MistralForCausalLM", _SMALL | {"num_key_value_heads": 2}),
    "qwen2": ("Qwen2ForCausalLM", _SMALL | {"num_key_value_heads": 2}),
    "gemma": ("GemmaForCausalLM", _SMALL | {"num_key_value_heads": 2, "head_dim": 16}),
    "phi": ("PhiForCausalLM", _SMALL),
    "gpt_neox": ("GPTNeoXForCausalLM", _SMALL),
    "t5": ("T5ForConditionalGeneration", {"d_model": 64, "d_ff": 96, "d_kv": 16, "num_heads": 4, "num_layers": 2, "vocab_size": 101}),
    "bart": ("BartForSequenceClassification", {"d_model": 64, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 4,
        "decoder_attention_heads": 4, "encoder_ffn_dim": 96, "decoder_ffn_dim": 96, "vocab_size": 101, "eos_token_id": 2, "pad_token_id": 1}),
    "vit": ("ViTForImageClassification", _SMALL | _SIGHT),
    "deit": ("DeiTForImageClassification", _SMALL | _SIGHT),
    "dinov2": ("Dinov2ForImageClassification", _SMALL | _SIGHT | {"patch_size": 16}),
    "segformer": ("SegformerForSemanticSegmentation", {"hidden_sizes": [16, 32, 48, 64], "depths": [1] * 4, "decoder_hidden_size": 64, **_SIGHT}),
    "convnext": ("ConvNextForImageClassification", {"hidden_sizes": [16, 32, 48, 64], "depths": [1] * 4, **_SIGHT}),
    "swin": ("SwinForImageClassification", {"embed_dim": 24, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4, **_SIGHT}),
    "resnet": ("ResNetForImageClassification", {"embedding_size": 16, "hidden_sizes": [32, 64], "depths": [2, 2], **_SIGHT}),
    "mobilevit": ("MobileViTForImageClassification", _SIGHT),
    "pvt_v2": ("PvtV2ForImageClassification", {"hidden_sizes": [16, 32, 48, 64], "depths": [1] * 4, "num_attention_heads": [1, 2, 3, 4], **_SIGHT}),
    "dpt": ("DPTForDepthEstimation", _SMALL | {"image_size": 64, "num_hidden_layers": 4, "backbone_out_indices": [0, 1, 2, 3], "neck_hidden_sizes": [16, 24, 32, 48],
        "fusion_hidden_size": 32, "reassemble_factors": [4, 2, 1, 0.5], "is_hybrid": False, "patch_size": 16}),
    "detr": ("DetrForObjectDetection", {"d_model": 64, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 4,
        "decoder_attention_heads": 4, "encoder_ffn_dim": 96, "decoder_ffn_dim": 96, "num_queries": 10, "use_pretrained_backbone": False}),
    "yolos": ("YolosForObjectDetection", _SMALL | {"image_size": [64, 64], "num_detection_tokens": 5}),
    "wav2vec2": ("Wav2Vec2ForSequenceClassification", _SMALL | {"conv_dim": [32] * 3, "conv_stride": [5, 4, 4], "conv_kernel": [10, 8, 4],
        "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4, "num_feat_extract_layers": 3}),
    "clip": ("CLIPModel", {"text_config": _SMALL | {"max_position_embeddings": 32, "eos_token_id": 2}, "vision_config": _SMALL | {"image_size": 64, "patch_size": 16}}),
}  # fmt: skip


class Called(nn.Module):
    """A network of transformers as a function of one input: a tensor, or tensors by name; it gives tensors by name."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor | dict[str, Tensor]) -> dict[str, Tensor]:
        """Whatever the network returns that is a tensor."""
        found = self.inner(**x) if isinstance(x, dict) else self.inner(x)
        return {name: value for name, value in found.items() if isinstance(value, Tensor)}


def networks() -> dict[str, Callable[[], Built]]:
    """All, each built when it is called."""
    found: dict[str, Callable[[], Built]] = {}
    for name in [*TORCHVISION, *SEGMENTATION]:
        found[f"torchvision/{name}"] = lambda name=name: _torchvision(name)
    for name, side in TIMM:
        found[f"timm/{name}"] = lambda name=name, side=side: _timm(name, side)
    for name in SMP:
        found[f"segmentation-models-pytorch/{name}"] = lambda name=name: _smp(name)
    for name, (kind, settings) in TRANSFORMERS.items():
        found[f"transformers/{name}"] = lambda n=name, k=kind, s=settings: _transformers(n, k, s)
    return found


def _torchvision(name: str) -> Built:
    import torchvision

    models = torchvision.models
    if name in SEGMENTATION:
        return getattr(models.segmentation, name)(weights=None, weights_backbone=None), torch.randn(
            2, 3, 64, 64
        )
    extra = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    side = 224 if name in ("maxvit_t") else 128 if name == "inception_v3" else 64
    return getattr(models, name)(weights=None, **extra), torch.randn(2, 3, side, side)


def _timm(name: str, side: int) -> Built:
    import timm

    return timm.create_model(name, pretrained=False, num_classes=5), torch.randn(2, 3, side, side)


def _smp(name: str) -> Built:
    import segmentation_models_pytorch as smp

    encoder = {"Segformer": "mit_b0", "DPT": "tu-vit_tiny_patch16_224"}.get(name, "resnet18")
    side = {"DPT": 224, "PAN": 128}.get(name, 64)
    return getattr(smp, name)(encoder, encoder_weights=None, classes=3), torch.randn(2, 3, side, side)


def _transformers(name: str, kind: str, settings: dict[str, Any]) -> Built:
    import transformers

    config = transformers.AutoConfig.for_model(name, **settings)
    config.use_cache = False
    family = getattr(transformers, kind)
    fused = getattr(family, "_supports_sdpa", False) and name != "albert"  # one of both kinds
    config._attn_implementation = "sdpa" if fused else "eager"
    if name == "detr":
        config.backbone_config = transformers.ResNetConfig(
            embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1], out_features=["stage2"]
        )
        config.backbone = None
    words = torch.randint(3, 100, (2, 9))
    words[:, -1] = 2
    image = torch.randn(2, 3, 64, 64)
    x: Any = words
    if name == "wav2vec2":
        x = torch.randn(2, 2400)
    elif name == "clip":
        x = {"input_ids": words, "pixel_values": image}
    elif name in ("t5", "bart"):
        x = {"input_ids": words, "decoder_input_ids": words} if name == "t5" else words
    elif kind.endswith(("ImageClassification", "SemanticSegmentation", "DepthEstimation", "ObjectDetection")):
        x = image
    return Called(family(config)), x
