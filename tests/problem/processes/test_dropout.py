"""Our dropout is torch's with another mask: shares, scale, gradient, layout, and what is left alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from secateur.problem import Dropout
from secateur.problem.processes import dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_its_share_is_dropped_and_the_rest_scaled(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.ones(400_000, dtype=dtype, requires_grad=True)
    out = Dropout(p)(x)
    out.sum().backward()
    assert out.dtype == dtype
    assert float((out == 0).double().mean()) == pytest.approx(p, abs=0.003)  # four standard deviations
    assert out.detach().unique().tolist() == pytest.approx([0.0, 1 / (1 - p)], rel=4e-3)
    assert x.grad is not None
    assert torch.equal(x.grad, out.detach())


def test_no_element_knows_of_its_neighbours() -> None:
    torch.manual_seed(0)
    kept = (Dropout(0.5)(torch.ones(4, 100_000)) > 0).double()
    for apart in (1, 2, 3, 4, 8):
        both = (kept[:, apart:] * kept[:, :-apart]).mean()
        assert float(both) == pytest.approx(0.25, abs=0.004)
    assert len({tuple(row[:64].tolist()) for row in kept}) == 4


def test_one_seed_is_one_mask_and_the_layout_stays() -> None:
    x = torch.randn(2, 3, 5, 7).to(memory_format=torch.channels_last)
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(Dropout(0.5)(x))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert found[0].is_contiguous(memory_format=torch.channels_last)


def test_what_draws_nothing_leaves_the_generator_alone() -> None:
    x, before = torch.randn(3, 4), torch.get_rng_state()
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)
    assert not Dropout(1.0)(x).any()
    assert torch.equal(torch.get_rng_state(), before)


def test_in_place_and_elsewhere_than_on_a_processor_it_is_that_of_torch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(dropout.F, "dropout", lambda x, p, training, inplace: asked.append(inplace) or x)
    Dropout(0.5, inplace=True)(torch.ones(2))
    Dropout(0.5)(torch.ones(2, device="meta"))
    Dropout(0.5)(torch.ones(2))
    assert asked == [True, False]


def test_a_trace_of_training_sees_dropout() -> None:
    model = nn.Sequential(nn.Linear(3, 3), Dropout(0.5))
    graph = torch.export.export(model, (torch.ones(2, 3),)).graph
    assert torch.ops.aten.dropout.default in [node.target for node in graph.nodes]
    torch.manual_seed(0)
    compiled = torch.compile(model, backend="eager")(torch.ones(2, 3))
    torch.manual_seed(0)
    assert torch.equal(compiled, F.dropout(model[0](torch.ones(2, 3)), 0.5))


@pytest.mark.parametrize("training", [False, True])
def test_a_trace_of_torch_fx_has_that_of_torch(training: bool) -> None:
    graph = torch.fx.symbolic_trace(nn.Sequential(nn.Linear(3, 3), Dropout(0.5)).train(training)).graph
    assert [node.target for node in graph.nodes if node.op == "call_function"] == [F.dropout]


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize("training", [False, True])
def test_scripted_it_is_that_of_torch(training: bool) -> None:
    scripted = torch.jit.script(nn.Sequential(Dropout(0.5)).train(training))
    found = []
    for layer in (scripted, nn.Dropout(0.5).train(training)):
        torch.manual_seed(0)
        found.append(layer(torch.ones(50)))
    assert torch.equal(*found)
