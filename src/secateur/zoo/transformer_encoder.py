"""Any encoder of Hugging Face's transformers with a head for each task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from secateur.problem import Input, is_count
from secateur.zoo.by_task import by_task

Pool = Literal["first", "mean", "none"]
_KERNELS = ("eager", "sdpa", "flex_attention", "grouped_mm", "batched_mm")
"""Implementations that are torch's or transformers' own; any other may be fetched and run."""
_ELSEWHERE = (
    "auto_map",
    "trust_remote_code",
    "code_revision",
    "quantization_config",
    "architecture",
    "backbone",
)
"""Settings that say where code or weights are to come from."""


class TransformerEncoder(nn.Module):
    """An encoder, and a linear head for each task on what it gives.

    Args:
        encoder: Module of transformers that returns ``last_hidden_state``.
        tasks: Task to the number of its outputs.
        width: Channels of the hidden state.
        pool: What a head sees: the first place, the mean over places that are not masked, or each place.
    """

    def __init__(self, encoder: nn.Module, tasks: Mapping[str, int], width: int, pool: Pool) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = by_task({task: nn.Linear(width, outputs) for task, outputs in tasks.items()})
        self.pool: Pool = pool

    def forward(self, x: Input) -> dict[str, Tensor]:
        """The encoder's main input, such as token ids (N, T) or pixels (N, 3, H, W), or its inputs by name.

        Returns:
            ``{task: (N, outputs)}``; with each place for itself ``{task: (N, outputs, T)}``.
        """
        found: Any = self.encoder(**x) if isinstance(x, Mapping) else self.encoder(x)
        hidden: Tensor = found.last_hidden_state  # (N, T, width)
        if self.pool == "first":
            hidden = hidden[:, 0]
        elif self.pool == "mean":
            mask = x.get("attention_mask") if isinstance(x, Mapping) else None
            weight = torch.ones_like(hidden[..., 0]) if mask is None else mask.to(hidden.dtype)
            hidden = (hidden * weight[..., None]).sum(1) / weight.sum(1, keepdim=True)
        outputs = {task: head(hidden) for task, head in self.heads.items()}
        return {t: y.transpose(1, 2) if self.pool == "none" else y for t, y in outputs.items()}


def transformer_encoder(tasks: Mapping[str, int], config: Any, pool: Pool = "first") -> TransformerEncoder:
    """An encoder of transformers with fresh weights, built from its configuration; nothing is downloaded.

    Its pooler is left out, since no task reads it. BERT, RoBERTa, DistilBERT and ViT are tested: whole attention heads
    and hidden units can be removed from them.

    Args:
        tasks: Task to the number of its outputs.
        config: A configuration such as ``BertConfig(hidden_size=128)``, or the same as a mapping with its ``model_type``:
            ``{"model_type": "bert", "hidden_size": 128}``.
        pool: What a head sees: ``first`` place, ``mean`` over places that are not masked, or ``none``: each place.

    Raises:
        ValueError: If there is no task, the configuration or ``pool`` is unknown, or a mapping asks for code or weights of
            elsewhere.
        ImportError: If transformers is not installed; it says what to install.
    """
    try:
        from transformers import AutoConfig, AutoModel
    except ImportError as error:
        raise ImportError(
            f"transformer_encoder needs transformers: pip install 'secateur[transformers]' ({error})."
        ) from error
    if not tasks or not all(map(is_count, tasks.values())):
        raise ValueError(
            f"transformer_encoder: tasks is {dict(tasks)}; give {{task: outputs}} with at least 1 output each."
        )
    if pool not in get_args(Pool):
        raise ValueError(f"transformer_encoder: pool is {pool!r}; choose one of {list(get_args(Pool))}.")
    made: Any = config
    if isinstance(config, Mapping):
        settings: dict[str, Any] = dict(config)
        _check_plain(settings)
        kind = settings.pop("model_type", None)
        try:
            known: Any = AutoConfig.for_model(kind)
            made = AutoConfig.for_model(kind, **settings)
        except ValueError as error:
            raise ValueError(
                f"transformer_encoder: config has model_type {kind!r}, which transformers does not know; "
                "give one of its names, such as bert, roberta, distilbert or vit."
            ) from error
        unknown = [key for key in settings if not hasattr(known, key) and key != "attn_implementation"]
        if unknown:
            raise ValueError(
                f"transformer_encoder: config has {unknown}, which {type(known).__name__} does not know; see its documentation."
            )
    if not isinstance(getattr(made, "hidden_size", None), int):
        raise ValueError(
            f"transformer_encoder: {type(made).__name__} has no hidden_size, so it is not of one encoder; give that of an "
            "encoder such as bert or vit."
        )
    encoder: Any = AutoModel.from_config(made, trust_remote_code=False)
    if getattr(encoder, "pooler", None) is not None:
        encoder.pooler = None
    return TransformerEncoder(encoder, tasks, made.hidden_size, pool)


def _check_plain(settings: Mapping[str, Any]) -> None:
    """Raises ValueError if a configuration, or one within it, has code or weights fetched, or names no dtype of torch."""
    for key, value in settings.items():
        kernels = value.values() if isinstance(value, Mapping) else [value]
        if key.endswith("_implementation") and not all(k is None or k in _KERNELS for k in kernels):
            raise ValueError(f"transformer_encoder: {key} is {value!r}; choose one of {', '.join(_KERNELS)}.")
        if value and (key in _ELSEWHERE or "pretrained" in key):
            raise ValueError(
                f"transformer_encoder: config has {key}, which fetches code or weights; nothing is downloaded, so leave it out."
            )
        if key in ("dtype", "torch_dtype") and not isinstance(
            getattr(torch, str(value), value), torch.dtype | None
        ):
            raise ValueError(
                f"transformer_encoder: {key} is {value!r}; give a dtype of torch, such as float32."
            )
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, Mapping):
                _check_plain({str(k): v for k, v in inner.items()})
