"""Encoders of transformers lose whole heads and hidden units, and compute the same."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from secateur import (
    GroupLasso,
    Problem,
    Task,
    compact,
    compaction,
    components,
    evaluate,
    export,
    fit,
    load,
    save,
)
from secateur.deployment.engines import load_engine
from secateur.shrinking.channels import find_channels
from secateur.zoo import transformer_encoder
from secateur.zoo.transformer_encoder import TransformerEncoder

pytest.importorskip("transformers")
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
CONFIGS: dict[str, dict[str, Any]] = {
    "bert": {"vocab_size": 60, "max_position_embeddings": 32, **SMALL},
    "roberta": {"vocab_size": 60, "max_position_embeddings": 40, **SMALL},
    "distilbert": {"vocab_size": 60, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48},
    "vit": {"image_size": 16, "patch_size": 8, **SMALL},
}
TASKS = {"topic": 3, "mood": 2}


def build(kind: str, attention: str = "sdpa", pool: Any = "first") -> TransformerEncoder:
    torch.manual_seed(0)
    settings = {"model_type": kind, "attn_implementation": attention, **CONFIGS[kind]}
    return transformer_encoder(TASKS, settings, pool).eval()


def inputs(kind: str, count: int = 2, length: int = 7) -> Any:
    draw = torch.Generator().manual_seed(1)
    if kind == "vit":
        return torch.randn(count, 3, 16, 16, generator=draw)
    mask = (torch.arange(length) < torch.randint(3, length + 1, (count, 1), generator=draw)).long()
    return {"input_ids": torch.randint(3, 60, (count, length), generator=draw), "attention_mask": mask}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(float((a[t] - b[t]).abs().max()) <= 1e-5 * float(a[t].abs().max()) for t in TASKS)


def attentions(model: nn.Module) -> list[nn.Module]:
    """The modules that say how many heads they have."""
    counts = ("num_attention_heads", "n_heads")
    return [m for m in model.modules() if any(isinstance(getattr(m, c, None), int) for c in counts)]


def linears(module: nn.Module) -> list[nn.Linear]:
    return [m for m in module.modules() if isinstance(m, nn.Linear)]


@pytest.mark.parametrize(
    ("kind", "attention"),
    [
        *((kind, "sdpa") for kind in CONFIGS),
        ("bert", "eager"),
        *(
            pytest.param(kind, "eager", marks=pytest.mark.slow) for kind in CONFIGS if kind != "bert"
        ),  # as bert's
    ],
)
@torch.no_grad()
def test_heads_and_hidden_units_are_channels_and_dead_ones_are_removed_and_the_attributes_say_so(
    kind: str, attention: str, tmp_path: Path
) -> None:
    model = build(kind, attention)
    channels = find_channels(model, inputs(kind))
    assert channels.count == 2 * (4 + 48)
    assert not any("not followed" in reason for reason in channels.pins)
    axes = channels.axes
    parameters = dict(model.named_parameters())
    readers = [n for (n, axis), ids in axes.items() if axis == 1 and (ids >= 0).any()]
    assert len(readers) == 4
    for number, name in enumerate(readers):
        ids = axes[name, 1]
        dead = ids.unique()[: (1 + number) if ids.unique().numel() == 4 else 20]
        parameters[name][:, torch.isin(ids, dead)] = 0
    small = compact(model, inputs(kind))
    assert len(compaction(small).kept) > 0
    for x in (inputs(kind), inputs(kind, 3, 5)):
        assert same(model(x), small(x))
    fresh = load(build(kind, attention), save(small, tmp_path / "small.safetensors")).eval()
    for made in (small, fresh):
        heads = []
        for module in attentions(made):
            count = getattr(module, "num_attention_heads", getattr(module, "n_heads", None))
            heads.append(count)
            assert linears(module)[0].out_features == 8 * count
            assert getattr(module, "all_head_size", 8 * count) == 8 * count
        assert sorted(heads) == [1, 3] or sorted(heads) == [2, 3]
        assert sum(layer.out_features == 28 for layer in linears(made)) == 2
    assert all(torch.equal(small(x)[t], fresh(x)[t]) for t in TASKS)


@pytest.mark.parametrize(
    "kind",
    ["bert", "vit", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("distilbert", "roberta"))],
)
def test_group_lasso_over_coupled_groups(kind: str) -> None:
    draw = torch.Generator().manual_seed(2)
    x = inputs(kind, 8)
    train = [(x, {t: torch.randint(0, n, (8,), generator=draw) for t, n in TASKS.items()}) for _ in range(2)]
    problem = Problem(build(kind), {t: Task(F.cross_entropy) for t in TASKS}, train)
    fit(problem, GroupLasso(density=0.5, groups="coupled", metric="euclidean"), steps=30)
    model = problem.model.eval()
    small = compact(model, x)
    with torch.no_grad():
        assert same(model(x), small(x))
    before, after = compaction(small).channels
    assert after < before == 2 * (4 + 48)
    assert sum(p.numel() for p in small.parameters()) < 0.9 * sum(p.numel() for p in model.parameters())


def test_owners_components_metrics_and_export(tmp_path: Path) -> None:
    x = inputs("bert", 4)
    problem = Problem(
        build("bert"),
        {t: Task(F.cross_entropy) for t in TASKS},
        [(x, {t: torch.zeros(4).long() for t in TASKS})],
    )
    assert set(components(problem)) == {"backbone", "topic", "mood"}
    kinds = components(problem, "kind")
    assert len(kinds["attention"]) == 8
    assert len(kinds["feed_forward"]) == 4 + 2
    assert evaluate(problem, "train") == {"topic": {}, "mood": {}}
    engine = load_engine(export(problem.model, x, tmp_path / "net.onnx", tasks=["mood"]))
    found = engine({name: value.numpy() for name, value in x.items()})
    assert found.keys() == {"mood"}
    with torch.no_grad():
        assert torch.allclose(problem.model.eval()(x)["mood"], torch.from_numpy(found["mood"]), atol=1e-5)


def test_what_a_head_sees() -> None:
    x = inputs("bert")
    hidden = build("bert").encoder(**x).last_hidden_state
    each_place = build("bert", pool="none")(x)["topic"]
    assert each_place.shape == (2, 3, 7)
    assert torch.allclose(build("bert")(x)["topic"], each_place[..., 0], atol=1e-6)
    mask = x["attention_mask"][..., None]
    mean = (hidden * mask).sum(1) / mask.sum(1)
    model = build("bert", pool="mean")
    assert torch.allclose(model(x)["topic"], model.heads["topic"](mean), atol=1e-6)


def test_bad_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="model_type 'bart2'"):
        transformer_encoder(TASKS, {"model_type": "bart2"})
    with pytest.raises(ValueError, match="model_type None"):
        transformer_encoder(TASKS, {"hidden_size": 3})
    with pytest.raises(ValueError, match="at least 1 output"):
        transformer_encoder({}, {"model_type": "bert"})
    with pytest.raises(ValueError, match="pool is"):
        transformer_encoder(TASKS, {"model_type": "bert"}, "last")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"config has \['hiden_size'\], which BertConfig does not know"):
        transformer_encoder(TASKS, {"model_type": "bert", "hiden_size": 32})
    with pytest.raises(ValueError, match="CLIPConfig has no hidden_size"):
        transformer_encoder(TASKS, {"model_type": "clip"})
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"secateur\[transformers\]"):
        transformer_encoder(TASKS, {"model_type": "bert"})


@pytest.mark.parametrize(
    "setting",
    [
        {"attn_implementation": "somebody/kernel"},
        {"_attn_implementation": "flash_attention_2"},
        {"attn_implementation": {"": "somebody/kernel:f"}},
        {"auto_map": {"AutoModel": "somebody/repo--code.Net"}},
        {"trust_remote_code": True},
        {"id2label": {"a": {"attn_implementation": "somebody/kernel"}}},
        {"dtype": "load"},
        {"use_pretrained_backbone": True},
    ],
)
def test_a_configuration_has_no_code_fetched(setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"choose one of eager|nothing is downloaded|give a dtype"):
        transformer_encoder(TASKS, {"model_type": "bert", **setting})
