"""The state of a network, copied and put back."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from secateur.storage import lasting_state, network_state, put_back


class Odd(nn.Module):
    """Tied weights, buffers of every kind, and an extra state by reference."""

    grid: Tensor | None
    queue: Tensor
    passing: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(3, 3), nn.Linear(3, 3)
        self.other.weight = self.one.weight
        self.register_buffer("queue", torch.zeros(2))
        self.spread = nn.Buffer(torch.ones(1).expand(4))
        self.register_buffer("passing", torch.ones(2), persistent=False)
        self.register_buffer("grid", None, persistent=False)
        self.kept: dict[str, Any] = {"list": [1], "tensor": torch.ones(2)}

    def get_extra_state(self) -> Any:
        return self.kept

    def set_extra_state(self, state: Any) -> None:
        self.kept = state


@torch.no_grad()
def spoil(model: Odd) -> None:
    for parameter in model.parameters():
        parameter.fill_(7.0)
    model.queue, model.passing, model.grid = torch.ones(5), torch.full((2,), 7.0), torch.ones(3)
    model.kept["list"].append(2)
    model.kept["tensor"].fill_(7.0)


def test_all_of_it_goes_back_as_often_as_one_likes() -> None:
    model = Odd()
    before = {name: value.clone() for name, value in network_state(model).items() if name != "_extra_state"}
    state = network_state(model)
    for _ in range(2):
        spoil(model)
        put_back(model, state)
        now = network_state(model)
        assert all(torch.equal(value, now[name]) for name, value in before.items())
        assert model.kept["list"] == [1]
        assert torch.equal(model.kept["tensor"], torch.ones(2))
        assert model.one.weight is model.other.weight
        assert model.grid is not None, "it came since, and is for the input"


def test_a_buffer_for_an_input_of_another_size_stays() -> None:
    model = Odd()
    state = network_state(model)
    model.passing = torch.ones(9)
    put_back(model, state)
    assert model.passing.shape == (9,)


def test_a_compiled_module_has_the_names_of_the_plain_one() -> None:
    model = Odd()
    state, compiled = network_state(model), cast(nn.Module, torch.compile(model))
    assert network_state(compiled).keys() == state.keys()
    spoil(model)
    put_back(compiled, state)
    assert model.queue.shape == (2,)
    assert model.kept["list"] == [1]


def test_what_a_file_holds_of_it() -> None:
    model = Odd()
    held = {
        "queue",
        "spread",
        *(f"{layer}.{own}" for layer in ("one", "other") for own in ("weight", "bias")),
    }
    assert lasting_state(model, network_state(model)).keys() == {*held, "_extra_state"}
    model.kept["code"] = Odd
    assert lasting_state(model, network_state(model)).keys() == held
