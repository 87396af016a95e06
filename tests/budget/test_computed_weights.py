"""Networks with weights that something computes at each call: norms, parametrizations and masks of torch, hooks of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils.prune import l1_unstructured

from problems import TwoHeads, equal, two_heads, weights
from secateur import Budget, compact, compaction, load, prune, save
from secateur.budget.layers import layers_of
from secateur.deployment.engines import load_engine
from secateur.deployment.export import export

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
QUICK: dict[str, Any] = {"steps": 0, "batches": 1, "repair": 0, "rounds": 1, "progress": False}


def doubled(layer: nn.Module) -> nn.Module:
    """As libraries do that know no parametrizations: the weight is a tensor that a hook makes."""
    raw = layer.weight.detach()
    del layer.weight
    layer.raw = nn.Parameter(raw)

    def make(module: nn.Module, _: Any) -> None:
        module.weight = module.raw * 2.0

    layer.register_forward_pre_hook(make)
    return layer


def masked(layer: nn.Module) -> nn.Module:
    return l1_unstructured(layer, "weight", 0.3)


def wrapped(wrap: Callable[[nn.Module], Any]) -> TwoHeads:
    torch.manual_seed(0)
    model = TwoHeads()
    for layer in (model.trunk[4], model.colour):
        wrap(layer)
    return model


@pytest.mark.parametrize("wrap", [nn.utils.weight_norm, nn.utils.spectral_norm, parametrizations.weight_norm])
def test_a_network_is_pruned_and_loaded_whatever_computes_its_weights(
    wrap: Callable[[nn.Module], Any], tmp_path: Path
) -> None:
    problem = two_heads()
    problem.model.__dict__.update(wrapped(wrap).__dict__)
    x = problem.train[0][0]
    problem.model(x)["shade"].sum().backward()  # what a hook keeps of it has a history
    before = weights(problem)
    small = prune(problem, Budget(macs=0.6), **QUICK)
    assert equal(weights(problem), before)
    assert small.trunk[4].out_channels < 16
    assert isinstance(small.colour.weight, nn.Parameter)
    assert compaction(small).baked == ["colour", "trunk.4"]
    loaded = load(wrapped(wrap), save(small, tmp_path / "small.safetensors"))
    assert torch.equal(loaded.eval()(x)["colour"], small.eval()(x)["colour"])


@pytest.mark.parametrize("wrap", [nn.utils.weight_norm, parametrizations.weight_norm, masked])
def test_a_network_is_exported_whatever_computes_its_weights(
    wrap: Callable[[nn.Module], Any], tmp_path: Path
) -> None:
    model, x = wrapped(wrap).eval(), torch.randn(1, 3, 8, 8)
    expected = model(x)  # what a hook keeps of it has a history
    found = load_engine(export(model, x, tmp_path / "net.pt2"))(x.numpy())
    for task, value in expected.items():
        assert torch.allclose(torch.from_numpy(found[task]), value, atol=1e-5)
    assert all(torch.equal(model(x)[task], value) for task, value in expected.items())


def test_layers_whose_weight_a_hook_makes_stay_as_wide_as_they_are() -> None:
    problem = two_heads()
    doubled(problem.model.colour)
    small = prune(problem, Budget(params=0.6), **QUICK)
    assert small.colour.raw.shape[0] == 5
    assert "colour.weight" in {layer.weight for layer in layers_of(small, problem.train[0][0])}


def test_what_an_old_spectral_norm_left_can_be_saved_and_loaded_by_torch() -> None:
    small = compact(wrapped(nn.utils.spectral_norm), torch.randn(1, 3, 8, 8))
    small.load_state_dict(small.state_dict())
