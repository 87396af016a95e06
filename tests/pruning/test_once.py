"""A pass that runs a layer several times computes its effective weight once, and what that is computed for stays plain to others."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from secateur.pruning.effective import attach, compute_once, detach, is_effective


class Net(nn.Module):
    """Looks at its trunk without gradients before it uses it, twice."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            middle = self.trunk(x).mean()
        return self.trunk(self.trunk(x) - middle)


class Halved:
    """An effect whose graph keeps nothing, so that all may share it."""

    def __init__(self) -> None:
        self.computed: list[bool] = []

    def __call__(self, weight: Tensor) -> Tensor:
        self.computed.append(torch.is_grad_enabled())
        return 0.5 * weight

    def again(self, weight: Tensor, known: Tensor) -> Tensor:
        return known


def watched() -> tuple[Net, list[bool]]:
    model, halved = Net(), Halved()
    attach(model, {"trunk.weight": halved})
    compute_once(model)
    return model, halved.computed


def test_a_look_without_gradients_takes_none_away() -> None:
    model, computed = watched()
    model(torch.ones(2, 3)).sum().backward()
    assert model.trunk.get_parameter("weight").grad is not None
    assert computed == [False, True]  # once for each mode
    with torch.inference_mode():
        model(torch.ones(2, 3))
    model(torch.ones(2, 3)).sum().backward()


def test_an_effect_that_cannot_say_a_value_again_is_computed_for_each_graph() -> None:
    model, halved = Net(), Halved()
    attach(model, {"trunk.weight": lambda weight: halved(weight)})
    compute_once(model)
    model(torch.ones(2, 3)).sum().backward()
    assert halved.computed == [False, True, True]
    with torch.no_grad():
        model(torch.ones(2, 3))
    assert halved.computed[3:] == [False]  # where there is none once does


def test_a_weight_that_is_written_to_or_exchanged_within_a_pass_is_computed_anew() -> None:
    class Writes(Net):
        def forward(self, x: Tensor) -> Tensor:
            first, twice = self.trunk(x), {"weight": 2.0 * self.trunk.get_parameter("weight")}
            other = torch.func.functional_call(self.trunk, twice, (x,))
            with torch.no_grad():
                self.trunk.get_parameter("weight").mul_(3.0)
            return torch.stack([f - self.trunk.bias for f in (first, other, self.trunk(x))])

    model = Writes()
    attach(model, {"trunk.weight": lambda weight: 0.5 * weight})
    compute_once(model)
    found = model(torch.ones(1, 3)).detach()
    assert torch.allclose(found[1], 2.0 * found[0], atol=1e-5)
    assert torch.allclose(found[2], 3.0 * found[0], atol=1e-5)


def test_weights_that_are_laid_elsewhere_within_a_pass_are_computed_anew() -> None:
    class Moves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk, self.factors = nn.Linear(3, 3, bias=False), (1.0, 2.0, 0.5, 3.0)

        def forward(self, x: Tensor) -> Tensor:
            plain, found = self.trunk.get_parameter("weight"), list[Tensor]()
            first = plain.detach().clone()
            for factor in self.factors:
                for _ in range(2):  # what lay there first is free to be given out
                    plain.data = first * factor
                found.append(self.trunk(x) / factor)
            return torch.stack(found)

    model = Moves()
    attach(model, {"trunk.weight": Halved()})
    compute_once(model)
    found = model(torch.ones(1, 3)).detach()
    assert torch.allclose(found, found[:1].expand_as(found))


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, copy.copy, lambda m: pickle.loads(pickle.dumps(m, 2)), lambda m: m]
)
def test_copies_bear_nothing_of_it(copied: Any) -> None:
    model, _ = watched()
    mine: list[str] = []
    model.register_forward_hook(lambda *_: mine.append("hook")) if copied in (
        copy.deepcopy,
        copy.copy,
    ) else None
    found = copied(model)
    if found is model:
        detach(model)
    assert type(found) is Net
    assert len(found._forward_pre_hooks) == len(found._forward_hooks_always_called) == 0
    found(torch.ones(1, 3))
    assert len(found._forward_hooks) == len(mine)
    assert is_effective(model) == (found is not model)


def test_a_pickle_names_nothing_of_ours() -> None:
    model, saved = nn.Sequential(nn.Linear(2, 2)), io.BytesIO()
    attach(model, {"0.weight": lambda weight: 0.5 * weight})
    compute_once(model)
    torch.save(model, saved)
    assert b"secateur" not in pickle.dumps(model) + pickle.dumps(model, 2) + saved.getvalue()
