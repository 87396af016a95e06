"""``torch.func`` over a network under thresholds gives what loops and ``torch.autograd`` give."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev, vmap

from secateur import LearnedThreshold
from secateur.pruning import Pattern, Shrinkage, soft_threshold
from secateur.pruning.effective import Effect, attach

BLOCKS = Pattern(rows=2)
ALPHA = torch.tensor(0.2, dtype=torch.float64)
EFFECTS: dict[str, Effect] = {
    "garrote": Shrinkage(ALPHA, True, "garrote"),
    "soft, as published": Shrinkage(ALPHA, False),
    "rescaled": Shrinkage(ALPHA, True, "rescaled"),
    "feather, half below": Shrinkage(ALPHA, True, "feather", below=0.5),
    "blocks": Shrinkage(ALPHA, False, pattern=BLOCKS),
    "blocks at the border": Shrinkage(ALPHA, False, pattern=Pattern(rows=3, columns=2)),
}


def net(effect: Effect) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    attach(model, {"0.weight": effect, "2.weight": effect})
    return model


@pytest.fixture
def x() -> Tensor:
    return torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("effect", EFFECTS)
def test_gradients_by_input_and_by_weights(effect: str, x: Tensor) -> None:
    model = net(EFFECTS[effect])
    named = {name: p.detach() for name, p in model.named_parameters()}
    found = grad(lambda given: functional_call(model, given, (x,)).square().sum())(named)
    model(x).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        assert torch.allclose(found[name], parameter.grad)
    each = vmap(grad(lambda one: model(one).square().sum()))(x)
    one = x.clone().requires_grad_()
    model(one).square().sum().backward()
    assert one.grad is not None
    assert torch.allclose(each, one.grad)


@pytest.mark.filterwarnings(
    "ignore:There is a performance drop"
)  # torch maps some kernels in place one by one
@pytest.mark.parametrize("effect", EFFECTS)
def test_jacobians_and_ensembles(effect: str, x: Tensor) -> None:
    model = net(EFFECTS[effect])
    named = {name: p.detach() for name, p in model.named_parameters()}

    def outputs(given: dict[str, Tensor]) -> Tensor:
        return functional_call(model, given, (x,))

    rows = jacrev(outputs)(named)
    for place in range(x.shape[0] * 2):
        found = model(x).flatten()[place]
        slopes = torch.autograd.grad(found, list(model.parameters()))
        for slope, name in zip(slopes, named, strict=True):
            assert torch.allclose(rows[name].flatten(0, 1)[place], slope)
    stacked = {name: torch.stack([value, 0.5 * value, 2.0 * value]) for name, value in named.items()}
    together, slopes = vmap(outputs)(stacked), vmap(grad(lambda given: outputs(given).sum()))(stacked)
    for place in range(3):
        one = {name: value[place].clone().requires_grad_() for name, value in stacked.items()}
        assert torch.allclose(together[place], outputs(one))
        expected = torch.autograd.grad(outputs(one).sum(), list(one.values()))
        for name, slope in zip(one, expected, strict=True):
            assert torch.allclose(slopes[name][place], slope)


@pytest.mark.parametrize("pattern", [Pattern(), BLOCKS])
def test_a_threshold_has_its_gradient_too(pattern: Pattern) -> None:
    weight = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))

    def loss(theta: Tensor) -> Tensor:
        return soft_threshold(weight, theta.sigmoid(), pattern=pattern).square().sum()

    theta = torch.tensor([-2.0, -1.0, 0.0], dtype=torch.float64, requires_grad=True)
    torch.stack([loss(one) for one in theta]).sum().backward()
    found = torch.stack([grad(loss)(one) for one in theta.detach()])
    assert theta.grad is not None
    assert torch.allclose(found, theta.grad)


def test_a_learned_threshold_is_one_of_them(x: Tensor) -> None:
    method = LearnedThreshold(0.5, initial=-1.0)
    method._theta, method.partition = {"all": nn.Parameter(torch.tensor(-1.0))}, {"all": ("0.weight",)}
    model = nn.Sequential(nn.Linear(3, 4)).double()
    attach(model, method._effects())
    assert vmap(grad(lambda one: model(one).sum()))(x).shape == x.shape
