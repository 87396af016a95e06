"""Under thresholds ``layer.weight`` is computed: who writes to it is told so, who reads it is left alone."""

from __future__ import annotations

import io
import warnings

import pytest
import torch
from torch import Tensor, nn

from secateur.pruning.effective import attach, detach


def halved(*, second: bool = True) -> nn.Sequential:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3))
    attach(model, {"0.weight": lambda p: 0.5 * p, **({"1.weight": lambda p: 0.5 * p} if second else {})})
    return model


X = torch.ones(1, 3, 7, 7)


@pytest.mark.parametrize(
    "write", [lambda w: w.clamp_(-0.01, 0.01), nn.init.zeros_, lambda w: w.view(-1)[:2].fill_(0.0)]
)
def test_a_write_is_said_once_with_its_layer_and_what_to_write_to(write) -> None:
    model = halved()
    for number in range(3):
        with torch.no_grad():
            write(model[1].weight)
        if number:
            model(X)
            continue
        with pytest.warns(UserWarning, match=r"1\.weight was written to in place.*get_parameter\('weight'\)"):
            model(X)


def test_reading_says_nothing() -> None:
    model, seen = halved(), list[Tensor]()
    for _ in range(2):
        model(X).sum().backward()
        with torch.no_grad():
            model(X)
            for layer in model:
                seen += [layer.weight, layer.weight.norm(), layer.weight.abs().histc(4)]
                layer.weight.clone().mul_(2.0)
                torch.save(layer.weight, io.BytesIO())
        with torch.inference_mode():
            model(X)
    del seen
    model(X)


def test_a_write_to_the_parameter_or_to_a_plain_layer_is_none() -> None:
    model = halved(second=False)
    with torch.no_grad():
        model[0].get_parameter("weight").clamp_(-0.01, 0.01)
        model[1].weight.clamp_(-0.01, 0.01)
        assert float(model[0].weight.abs().max()) <= 0.005
    detach(model)
    with torch.no_grad():
        model[0].weight.clamp_(-0.001, 0.001)
    model(X)
    assert float(model[0].weight.detach().abs().max()) <= 0.0011


def test_an_effect_that_hands_out_the_parameter_itself_is_written_through() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    attach(model, {"0.weight": lambda p: p})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with torch.no_grad():
            model[0].weight.fill_(0.25)
        model(torch.ones(1, 2))
    assert float(model[0].weight.detach().max()) == 0.25
