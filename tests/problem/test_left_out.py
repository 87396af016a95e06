"""Layers that could be pruned and are not: one warning names them, and the remedy."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import (
    parametrizations,
    prune,
    remove_spectral_norm,
    remove_weight_norm,
    spectral_norm,
    weight_norm,
)

from problems import TwoHeads, tasks, two_heads
from secateur import Problem, SoftThreshold, components, density, fit
from secateur.problem import prunable

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated"),
    pytest.mark.filterwarnings("ignore:.*torch.jit.*"),
    pytest.mark.filterwarnings("ignore:.*TorchScript.*"),
]


def removed(name: str) -> Any:
    return lambda layer: prune.remove(layer, name)


KINDS: dict[str, tuple[Any, str, Any]] = {
    "weight_norm": (weight_norm, r"remove_weight_norm\(layer\)", remove_weight_norm),
    "spectral_norm": (spectral_norm, r"remove_spectral_norm\(layer\)", remove_spectral_norm),
    "prune": (
        lambda m: prune.l1_unstructured(m, "weight", 0.5),
        r"prune\.remove\(layer, 'weight'\)",
        removed("weight"),
    ),
    "parametrized": (
        parametrizations.weight_norm,
        r"remove_parametrizations\(layer, 'weight'\)",
        lambda m: nn.utils.parametrize.remove_parametrizations(m, "weight"),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_layers_under_a_hook_are_named_with_the_remedy(kind: str) -> None:
    put, remedy, take = KINDS[kind]
    problem = two_heads()
    for layer in (problem.model.colour, problem.model.trunk[4]):
        put(layer)
    with pytest.warns(
        UserWarning, match=rf"Not pruned, because .*\['colour', 'trunk\.4'\].*{remedy}"
    ) as said:
        fit(problem, SoftThreshold(0.2), steps=4)
    assert all("['colour', 'trunk.4']" in str(w.message) for w in said)
    for layer in (problem.model.colour, problem.model.trunk[4]):
        take(layer)
    assert len(prunable(problem.model)) == 5


def test_it_is_said_once() -> None:
    problem = two_heads()
    weight_norm(problem.model.colour)
    spectral_norm(problem.model.trunk[0])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")
        fit(problem, SoftThreshold(0.2), steps=4)
        components(problem)
    (only,) = [str(w.message) for w in said if "Not pruned" in str(w.message)]
    assert "['colour']" in only
    assert "['trunk.0']" in only


def test_scripted_layers_are_named() -> None:
    problem = two_heads()
    problem.model.shade = torch.jit.script(problem.model.shade)
    with pytest.warns(UserWarning, match=r"scripted: \['shade\.0', 'shade\.2'\]; train the model as it was"):
        fit(problem, SoftThreshold(0.2), steps=4)
    with pytest.warns(UserWarning, match="scripted"):
        assert density(problem.model, components(problem)).overall == pytest.approx(0.2, abs=0.0005)


def test_a_model_of_which_all_is_scripted_says_why() -> None:
    whole = Problem(torch.jit.script(TwoHeads()), tasks(), two_heads().train)
    with (
        pytest.warns(UserWarning, match="scripted"),
        pytest.raises(ValueError, match=r"nothing can be pruned.*scripted"),
    ):
        components(whole, "all")


def test_layers_without_weights_yet_are_named() -> None:
    model = TwoHeads()
    model.colour = nn.LazyConv2d(5, 1)
    with pytest.raises(ValueError, match="Layer 'colour' has no weights yet; call the model once"):
        prunable(model)


def test_frozen_layers_are_left_out_without_a_word() -> None:
    model = TwoHeads()
    weight_norm(model.colour)
    model.colour.requires_grad_(False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(prunable(model)) == 4


class Recurrent(nn.Module):
    """Half of its weights are of layers that nothing here prunes."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 16)
        self.gru = nn.GRU(16, 16, batch_first=True)
        self.own = nn.Module()
        self.own.matrix = nn.Parameter(torch.randn(16, 16))
        self.table = nn.Embedding(100, 16)
        self.norm = nn.LayerNorm(16)


def test_layers_of_another_kind_are_named() -> None:
    with pytest.warns(UserWarning, match=r"not pruned: \['gru', 'own'\]; they stay dense"):
        assert list(prunable(Recurrent())) == ["first.weight"]
