"""Units and inputs of recurrent layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dead_channels import same
from secateur import compact, load, save


class Read(nn.Module):
    """A network that reads columns of a picture (CRNN)."""

    def __init__(self, kind: type[Any], settings: dict[str, Any]) -> None:
        super().__init__()
        self.a = nn.Conv1d(3, 8, 3, padding=1)
        self.memory = kind(8, 6, batch_first=True, **settings)
        self.head = nn.Linear(6 * (1 + self.memory.bidirectional), 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y, state = self.memory(torch.relu(self.a(x)).transpose(1, 2))
        return {"each": self.head(y), "all": (state if isinstance(state, Tensor) else state[1])[-1, :, :1]}


CASES: list[tuple[type[Any], dict[str, Any]]] = [
    (nn.LSTM, {}),
    (nn.LSTM, {"bidirectional": True, "num_layers": 2}),
    (nn.GRU, {"num_layers": 2, "bias": False}),
    (nn.RNN, {"bidirectional": True}),
]


def _dead(model: Any) -> None:
    """Inputs 0 to 2 are not read, 3 is zero; of the units the last is read by one that is read, and 2 and 3 by themselves alone."""
    for name, weight in model.memory.named_parameters():
        if name.startswith("weight_ih_l0"):
            weight[:, :3] = 0
        elif name.startswith("weight_ih"):
            weight.unflatten(1, (-1, 6))[..., 2:4] = 0
        elif name.startswith("weight_hh"):
            gates = weight.unflatten(0, (-1, 6))
            gates[:, [0, 1, 4, 5], 2:4] = 0
    model.a.weight[3], model.a.bias[3] = 0, 0
    model.head.weight.unflatten(1, (-1, 6))[..., [2, 3, 5]] = 0


@pytest.mark.parametrize(("kind", "settings"), CASES)
@torch.no_grad()
def test_units_and_inputs_of_recurrent_layers_go(
    kind: type[Any], settings: dict[str, Any], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = Read(kind, settings).eval()
    _dead(model)
    x = torch.randn(2, 3, 5)
    small: Any = compact(model, x)
    assert (small.a.out_channels, small.memory.input_size, small.memory.hidden_size) == (4, 4, 4)
    assert small.memory.weight_hh_l0.shape[1] == 4
    for name, value in model(x).items():
        assert same(value, small(x)[name])
    save(small, tmp_path / "small.safetensors")
    again = load(Read(kind, settings), tmp_path / "small.safetensors").eval()
    assert same(again(x)["each"], small(x)["each"])


@torch.no_grad()
def test_a_unit_that_another_needs_stays() -> None:
    torch.manual_seed(0)
    model = Read(nn.GRU, {}).eval()
    model.head.weight[:, 1:] = 0  # but all are read by unit 0
    x = torch.randn(2, 3, 5)
    small: Any = compact(model, x)
    assert small.memory.hidden_size == 6


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@torch.no_grad()
def test_a_projected_state_stays() -> None:
    torch.manual_seed(0)
    model = Read(nn.LSTM, {"proj_size": 2}).eval()
    model.head = nn.Linear(2, 2)
    model.head.weight[:, 0] = 0
    x = torch.randn(2, 3, 5)
    small: Any = compact(model, x)
    assert (small.memory.hidden_size, small.memory.proj_size) == (6, 2)
    assert same(model(x)["each"], small(x)["each"])
