"""Multiply-accumulates are counted where torch multiplies, whoever calls it."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize
from torch.utils.flop_counter import FlopCounterMode

from measures.written_nets import Net
from secateur.measures import count_macs

X, V = torch.randn(2, 6, 8, 8), torch.randn(2, 5, 6)


def linear(outputs: int = 4) -> nn.Linear:
    return nn.Linear(6, outputs)


def counted_by_torch(model: nn.Module, x: Any) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as flops:
        copy.deepcopy(model).eval()(x)
    return flops.get_total_flops() // 2


def inference(net: Any, x: Tensor) -> Tensor:
    with torch.inference_mode():
        return net.f(x) @ net.f.weight


def in_bfloat16(net: Any, x: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return net.f(x) + F.linear(x, net.f.weight)


def ensemble(net: Any, x: Tensor) -> Tensor:
    parameters, buffers = stack_module_state([net.f, net.g])  # type: ignore[arg-type]
    return vmap(lambda p, b: functional_call(net.f, (p, b), (x,)))(parameters, buffers)


def put_together(net: Any, x: Tensor) -> Tensor:
    whole = torch.zeros(4, 6)
    whole[:2], whole[2:] = net.f.weight[:2], net.f.weight[2:]
    return F.linear(x, whole)


def branch(net: Any, x: Tensor) -> Any:
    return torch.cond(x.sum() > 0, lambda y: net.f(y), lambda y: net.f(y) * 2, (x,))


def standardised(net: Any, x: Tensor) -> Tensor:
    flat = net.c.weight.reshape(1, 4, -1)
    return F.conv2d(x, F.batch_norm(flat, None, None, training=True).reshape_as(net.c.weight))


BY_WEIGHT: dict[str, Callable[[], tuple[Net, Tensor]]] = {
    "x @ W.t()": lambda: (Net(lambda m, x: x @ m.f.weight.t(), f=linear()), V),
    "matmul of W.mT": lambda: (Net(lambda m, x: torch.matmul(x, m.f.weight.mT), f=linear()), V),
    "addmm": lambda: (Net(lambda m, x: torch.addmm(m.f.bias, x[0], m.f.weight.t()), f=linear()), V),
    "einsum": lambda: (Net(lambda m, x: torch.einsum("bnc,kc->bnk", x, m.f.weight), f=linear()), V),
    "a slice": lambda: (Net(lambda m, x: F.linear(x, m.f.weight[:2]), f=linear()), V),
    "data": lambda: (Net(lambda m, x: F.linear(x, m.f.weight.data), f=linear()), V),
    "one kernel in two ways": lambda: (
        Net(
            lambda m, x: m.c(x).flatten(2).mT + F.linear(x.flatten(2).mT, m.c.weight.flatten(1)),
            c=nn.Conv2d(6, 4, 1),
        ),
        X,
    ),
    "unfold": lambda: (Net(lambda m, x: m.c.weight.flatten(1) @ F.unfold(x, 3), c=nn.Conv2d(6, 4, 3)), X),
    "transposed": lambda: (
        Net(
            lambda m, x: F.conv_transpose2d(x, m.c.weight, stride=2, groups=2),
            c=nn.ConvTranspose2d(6, 4, 2, groups=2),
        ),
        X,
    ),
    "standardised": lambda: (Net(standardised, c=nn.Conv2d(6, 4, 3)), X),
    "three in one": lambda: (
        Net(lambda m, x: F.linear(x, torch.cat([m.f.weight, m.g.weight])), f=linear(), g=linear(7)),
        V,
    ),
    "two products in one": lambda: (
        Net(
            lambda m, x: torch.linalg.multi_dot([x[0, :1], m.f.weight.t(), m.g.weight.t()]),
            f=linear(),
            g=nn.Linear(4, 3),
        ),
        V,
    ),
    "written into a tensor": lambda: (Net(put_together, f=linear()), V),
    "inference mode": lambda: (Net(inference, f=linear()), V),
    "autocast": lambda: (Net(in_bfloat16, f=linear()), V),
    "an ensemble": lambda: (Net(ensemble, f=linear(), g=linear()), V),
    "a parameter": lambda: (Net(lambda m, x: x @ m.w, w=nn.Parameter(torch.randn(6, 7))), V),
    "an embedding as a head": lambda: (
        Net(lambda m, x: F.linear(m.e(x), m.e.weight), e=nn.Embedding(9, 6)),
        torch.ones(2, 5).long(),
    ),
}


@pytest.mark.parametrize("case", BY_WEIGHT)
def test_a_weight_counts_however_it_is_called(case: str) -> None:
    model, x = BY_WEIGHT[case]()
    found = count_macs(model, x)
    assert sum(found.values()) == counted_by_torch(model, x) > 0
    assert all(found.values())


def test_what_a_branch_runs_counts() -> None:
    assert count_macs(Net(branch, f=linear()), V)["f.weight"] == 24 * 10


def test_weights_put_together_share_the_work() -> None:
    model, x = BY_WEIGHT["three in one"]()
    assert count_macs(model, x) == {"f.weight": 24 * 10, "g.weight": 42 * 10}


def test_products_of_results_are_not_counted() -> None:
    """Queries that are learned, keys of the input: the layers' work is, and that of the scores is not."""
    slots = Net(
        lambda m, x: (m.f(m.q.weight)[None] @ m.g(x).mT).softmax(-1) @ x,
        f=linear(6), g=linear(6), q=nn.Embedding(3, 6),
    )  # fmt: skip
    assert count_macs(slots, V) == {"f.weight": 36 * 3, "g.weight": 36 * 10}


def test_tied_layers_count_where_they_run() -> None:
    head = linear(6)
    head.weight = (table := linear(6)).weight
    found = count_macs(Net(lambda m, x: m.b(m.b(m.a(x))), a=table, b=head), V)
    assert found == {"a.weight": 360, "b.weight": 720}


def test_weights_that_are_computed_count_and_what_computes_them_does_not() -> None:
    model = Net(lambda m, x: m.g(F.linear(x, m.f.weight)), f=linear(6), g=linear())
    for layer in (model.f, model.g):
        parametrizations.orthogonal(layer)
    expected = {"f.weight": 360, "g.weight": 240}
    assert count_macs(model, V) == expected
    with parametrize.cached():
        assert model.g.weight is model.g.weight
        assert count_macs(model, V) == expected


def test_compiled_parts_count_as_they_were_written() -> None:
    layer = linear()
    compiled = torch.compile(lambda x: x @ layer.weight.t(), backend="eager")
    assert count_macs(Net(lambda m, x: compiled(x) + m.g(x), f=layer, g=linear()), V) == {
        "f.weight": 240, "g.weight": 240,
    }  # fmt: skip


def test_an_operation_of_another_library_is_named() -> None:
    with torch.library._scoped_library("secateur_tests", "DEF") as library:
        library.define("product(Tensor x, Tensor weight) -> Tensor")
        library.impl("product", lambda x, weight: x @ weight.t(), "CPU")
        model = Net(lambda m, x: torch.ops.secateur_tests.product(x, m.f.weight), f=linear())
        with pytest.warns(UserWarning, match=r"secateur_tests::product takes \['f.weight'\].*not known"):
            assert count_macs(model, V) == {"f.weight": 0}
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            count_macs(Net(lambda m, x: m.f(x), f=linear()), V)
