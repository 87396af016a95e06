from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import weight_norm

from secateur.measures.cost import cost, count_macs


def test_convolutions_of_all_kinds() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),  # 16 -> 8: 8*3*9 at 64 places
        nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=4),  # 8*2*9 at 64 places
        nn.ConvTranspose2d(8, 4, 4, stride=2, padding=1, groups=2),  # 8*2*16 at the 64 places of its input
        nn.Conv2d(4, 2, (1, 3)),  # 16 x 16 -> 16 x 14
    )
    expected = {"0.weight": 216 * 64, "1.weight": 144 * 64, "2.weight": 256 * 64, "3.weight": 24 * 16 * 14}
    assert count_macs(net, torch.randn(1, 3, 16, 16)) == expected
    twice = count_macs(net, torch.randn(2, 3, 16, 16))
    assert twice == {name: 2 * macs for name, macs in expected.items()}
    assert count_macs(net, torch.randn(3, 16, 16)) == expected  # without a batch dimension


def test_one_and_three_dimensions() -> None:
    assert count_macs(nn.Conv1d(2, 3, 5), torch.randn(1, 2, 9)) == {"weight": 30 * 5}
    assert count_macs(nn.Conv3d(2, 3, 2), torch.randn(1, 2, 4, 4, 4)) == {"weight": 48 * 27}
    assert count_macs(nn.ConvTranspose1d(2, 3, 5), torch.randn(1, 2, 9)) == {"weight": 30 * 9}


def test_matches_a_naive_loop() -> None:
    class Counting:
        """A convolution by hand that counts its multiplications."""

        total = 0

        def __call__(self, x: Tensor, weight: Tensor, stride: int, dilation: int) -> None:
            reach = dilation * (weight.shape[-1] - 1)
            for top in range(0, x.shape[-1] - reach, stride):
                for left in range(0, x.shape[-1] - reach, stride):
                    patch = x[0, :, top : top + reach + 1 : dilation, left : left + reach + 1 : dilation]
                    self.total += sum(int((patch * kernel).numel()) for kernel in weight)

    for stride, dilation in ((1, 1), (2, 1), (1, 2), (3, 2)):
        layer, x, naive = nn.Conv2d(3, 4, 3, stride, dilation=dilation), torch.randn(1, 3, 11, 11), Counting()
        naive(x, layer.weight, stride, dilation)
        assert count_macs(layer, x)["weight"] == naive.total


def test_linear_counts_each_vector() -> None:
    assert count_macs(nn.Linear(4, 5), torch.randn(2, 7, 4)) == {"weight": 20 * 14}


def test_a_module_called_twice_adds_up_and_one_not_called_has_none() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = nn.Conv2d(2, 2, 1)
            self.spare = nn.Linear(2, 2)

        def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
            return {task: self.block(value) for task, value in x.items()}

    x = {"a": torch.randn(1, 2, 4, 4), "b": torch.randn(1, 2, 3, 3)}
    assert count_macs(Shared(), x) == {"block.weight": 4 * (16 + 9), "spare.weight": 0}


def test_attention() -> None:
    own = nn.MultiheadAttention(8, 2, batch_first=True)

    class Net(nn.Module):
        def __init__(self, attention: nn.MultiheadAttention) -> None:
            super().__init__()
            self.attention = attention

        def forward(self, x: dict[str, Tensor]) -> Tensor:
            return self.attention(x["q"], x["k"], value=x["k"], need_weights=False)[0]

    x = {"q": torch.randn(2, 3, 8), "k": torch.randn(2, 5, 8)}
    macs = count_macs(Net(own), x)
    assert macs == {"attention.in_proj_weight": 64 * (6 + 10 + 10), "attention.out_proj.weight": 64 * 6}
    other = nn.MultiheadAttention(8, 2, kdim=4, vdim=4, batch_first=True)
    macs = count_macs(Net(other), {"q": x["q"], "k": torch.randn(2, 5, 4)})
    assert [macs[f"attention.{n}_proj_weight"] for n in "qkv"] == [64 * 6, 32 * 10, 32 * 10]


def test_transformer_layers_are_counted_in_eval_mode() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)  # its fused path would bypass the modules
    macs = count_macs(layer, torch.randn(1, 3, 8))
    assert macs["linear1.weight"] == macs["linear2.weight"] == 8 * 16 * 3
    assert macs["self_attn.in_proj_weight"] == 3 * 64 * 3


def test_the_model_is_left_as_it_was() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout())
    net[1].eval()
    before, random = {k: v.clone() for k, v in net.state_dict().items()}, torch.get_rng_state()
    count_macs(net, torch.randn(2, 1, 5, 5, generator=torch.Generator().manual_seed(0)))
    assert [m.training for m in net] == [True, False, True]
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert torch.equal(random, torch.get_rng_state())
    assert not any(m._forward_hooks for m in net.modules())


def test_hooks_go_and_modes_return_when_the_forward_fails() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    with pytest.raises(RuntimeError, match="channels"):
        count_macs(net, torch.randn(1, 2, 5, 5))
    assert net.training
    assert not any(m._forward_hooks for m in net.modules())


def test_meta_device_needs_no_memory() -> None:
    with torch.device("meta"):
        net = nn.Conv2d(512, 1024, 3, padding=6, dilation=6)
    assert count_macs(net, torch.randn(1, 512, 41, 41)) == {"weight": 512 * 1024 * 9 * 41 * 41}


def small() -> tuple[nn.Sequential, dict[str, tuple[str, ...]]]:
    net = nn.Sequential(nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(18, 4))
    with torch.no_grad():
        net[0].weight.fill_(1.0)
        net[3].weight.fill_(1.0)
        net[0].weight[0] = 0  # 4 of 8 left
        net[3].weight[1:] = 0  # 18 of 72 left
    return net, {"trunk": ("0.weight",), "head": ("3.weight",)}


EXPECTED = {
    "params": {"total": 8 + 2 + 4 + 72 + 4, "prunable": 80, "nonzero": 22},
    "density": {
        "overall": 22 / 80,
        "components": {"trunk": 0.5, "head": 0.25},
        "layers": {"0.weight": 0.5, "3.weight": 0.25},
    },
    "macs": {
        "dense": 72 + 72,  # the convolution's 8 weights act at 9 places
        "sparse": 36 + 18,
        "components": {"trunk": {"dense": 72, "sparse": 36}, "head": {"dense": 72, "sparse": 18}},
    },
}


def test_cost_by_hand() -> None:
    net, components = small()
    assert cost(net, torch.randn(1, 1, 4, 4), components).to_dict() == EXPECTED


class _Masked(nn.Module):
    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)
        self.threshold = nn.Parameter(torch.zeros(3))  # of the method, not of the network

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.mask


def test_cost_reads_effective_weights_under_their_plain_names() -> None:
    net, components = small()
    for index in (0, 3):
        mask = (net[index].weight != 0).float()
        with torch.no_grad():
            net[index].weight.fill_(1.0)
        parametrize.register_parametrization(net[index], "weight", _Masked(mask))
    assert cost(net, torch.randn(1, 1, 4, 4), components).to_dict() == EXPECTED


def test_a_parametrization_with_two_originals() -> None:
    net = nn.Sequential(weight_norm(nn.Linear(3, 2)))
    assert cost(net, torch.randn(1, 3), {"all": ("0.weight",)}).params == 6 + 2


def test_a_name_that_is_no_weight_is_an_error() -> None:
    net, _ = small()
    with pytest.raises(ValueError, match=r"1\.weight.*not weights"):
        cost(net, torch.randn(1, 1, 4, 4), {"all": ("1.weight",)})


def test_layers_called_by_their_weight_count_too() -> None:
    """Swin's attention, whose layers are read and never called: 96 * 288 and 96 * 96 for each of 64 places."""
    block = torchvision.models.swin_transformer.ShiftedWindowAttention(96, [4, 4], [0, 0], 3)
    found = count_macs(block, torch.randn(1, 8, 8, 96))
    assert (found["qkv.weight"], found["proj.weight"]) == (96 * 288 * 64, 96 * 96 * 64)


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
def test_recurrent_layers_multiply_each_matrix_once_a_step(kind: Any, gates: int) -> None:
    layer = kind(6, 10, num_layers=2, bidirectional=True, batch_first=True)
    rows = 3 * 5  # sequences, steps
    expected = rows * gates * 2 * ((6 * 10 + 10 * 10) + (20 * 10 + 10 * 10))
    assert sum(count_macs(nn.Sequential(layer), torch.randn(3, 5, 6)).values()) == expected
    assert count_macs(layer, torch.randn(3, 5, 6))["weight_hh_l1_reverse"] == rows * gates * 100
    assert sum(count_macs(layer, torch.randn(5, 6)).values()) == expected // 3  # one sequence, no batch


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTMCell, 4), (nn.GRUCell, 3), (nn.RNNCell, 1)])
def test_a_recurrent_cell_adds_up_over_the_steps(kind: Any, gates: int) -> None:
    class Steps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.head = kind(6, 10), nn.Linear(10, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            state = None
            for step in x.unbind(1):
                state = self.cell(step, state)
            return self.head(state[0] if isinstance(state, tuple) else state)

    counts = count_macs(Steps(), torch.randn(3, 5, 6))
    assert counts == {
        "cell.weight_ih": 15 * gates * 60, "cell.weight_hh": 15 * gates * 100, "head.weight": 3 * 20,
    }  # fmt: skip


def test_sequences_of_several_lengths_and_a_projection() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(6, 10, proj_size=4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            packed = nn.utils.rnn.pack_padded_sequence(x, [5, 3, 1])
            return self.lstm(packed)[0].data

    counts = count_macs(Net(), torch.randn(5, 3, 6))  # 9 steps of 15 are there
    assert counts == {
        "lstm.weight_ih_l0": 9 * 40 * 6, "lstm.weight_hh_l0": 9 * 40 * 4, "lstm.weight_hr_l0": 9 * 4 * 10,
    }  # fmt: skip
