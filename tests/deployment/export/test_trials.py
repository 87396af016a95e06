"""Sizes that export tries: none where the model would take too much of the machine, and nothing raised or printed of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from secateur.deployment.engines import load_engine
from secateur.deployment.export import describe, export
from secateur.deployment.export.network import network
from secateur.deployment.export.trials.cost import cost
from secateur.deployment.export.trials.trials import Trials

SHAPES = {"input": ["batch", 3, "height", "width"]}


class Places(nn.Module):
    """Patches of 4 and a place of each, resized where the input has another size; ``after`` makes the output of them."""

    def __init__(self, after: Callable[[Tensor], Tensor] = lambda z: z) -> None:
        super().__init__()
        self.after, self.largest = after, 0
        self.embed, self.place = nn.Conv2d(3, 4, 4, 4), nn.Parameter(torch.randn(1, 4, 8, 8))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        z, place = self.embed(x), self.place
        if type(x) is Tensor and not torch.compiler.is_compiling():  # it is computed, and not traced
            self.largest = max(self.largest, len(x) * (z.shape[2] * z.shape[3]) ** 2 * 4)
        if z.shape[-2:] != place.shape[-2:]:
            place = F.interpolate(place, size=z.shape[-2:])
        return {"seg": self.after(z + place)}


def by_hand(z: Tensor) -> Tensor:
    z = z.flatten(2)
    return z @ (z.transpose(1, 2) @ z).softmax(-1)


def fused(z: Tensor) -> Tensor:
    z = z.flatten(2).transpose(1, 2)[:, None]
    return F.scaled_dot_product_attention(z, z, z)


def of_torch(z: Tensor) -> Tensor:
    torch.manual_seed(0)
    return nn.MultiheadAttention(4, 2, batch_first=True).eval()(*[z.flatten(2).transpose(1, 2)] * 3)[0]


def test_the_model_is_not_run_where_it_would_take_the_machine(tmp_path: Path) -> None:
    model = Places(by_hand).eval()
    seen = list[int]()
    model.register_forward_hook(lambda module, *_: seen.append(module.largest))
    found = describe(export(model, torch.randn(2, 3, 32, 32), tmp_path / "net.pt2"))
    assert found["dynamic"] == ["batch"]
    assert "height // 4" in found["fixed"]["batch and size"]
    assert 0 < max(seen) < 2**28


@pytest.mark.parametrize("after", [by_hand, fused, of_torch])
def test_attention_is_counted_with_the_scores_of_all_pairs(after: Callable[[Tensor], Tensor]) -> None:
    made = network(Places(after), torch.randn(1, 3, 32, 32), None)
    found = cost(made, [(1, 3, 1024, 1024)])
    assert found is not None
    assert found.memory >= 4 * 2**32
    trials = Trials(made, SHAPES)
    assert trials.fits({"height": 128, "width": 128})
    assert not trials.fits({"height": 1024, "width": 1024})


def test_what_a_pass_takes_leaves_the_model_as_it_was() -> None:
    class Caches(Places):
        def __init__(self) -> None:
            super().__init__()
            self.last, self.kept, self.grid = None, list[Tensor](), dict[int, Tensor]()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            found = super().forward(x)
            self.last, self.grid[x.shape[2]] = found["seg"], found["seg"]
            self.kept.append(found["seg"])
            self.calls += 1
            return found

    made = network(Caches(), torch.randn(1, 3, 32, 32), None)
    before = made.predict(made.example)["seg"]
    state = made.state.model
    for size in (32, 48):
        assert cost(made, [(1, 3, size, size)]) is not None
    assert state.last is None
    assert not state.kept
    assert not state.calls
    assert all(type(value) is Tensor for value in state.grid.values())
    assert torch.equal(made.predict(made.example)["seg"], before)


def test_a_size_that_the_model_does_not_take_is_counted_in_silence(capfd: pytest.CaptureFixture[str]) -> None:
    found = cost(network(Places(), torch.randn(1, 3, 32, 32), None), [(1, 3, 32, 2)])
    assert found is not None
    assert not found.ends
    assert "Error" not in "".join(capfd.readouterr())


def test_a_value_that_decides_is_tried_near_the_example_alone() -> None:
    class Asks(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"seg": x[:, :1] * float(x.sum().item() > 0)}

    trials = Trials(network(Asks(), torch.randn(1, 3, 32, 32), None), SHAPES)
    assert trials.fits({"height": 64})
    assert not trials.fits({"height": 512})


def test_all_trials_together_are_bounded() -> None:
    trials = Trials(network(Places(), torch.randn(1, 3, 32, 32), None), SHAPES)
    with pytest.raises(ValueError, match="decides by sizes in more ways than"):
        list(map(trials.run, [{"height": 64}] * 10_000))


def test_a_large_example_is_tried_at_a_few_times_its_size() -> None:
    trials = Trials(network(Places(by_hand), torch.randn(1, 3, 512, 512), None), SHAPES)
    assert trials.fits({"height": 544, "width": 544})
    assert trials.fits({"height": 8})
    assert not trials.fits({"height": 2048, "width": 1024})


@pytest.mark.parametrize("norm", [nn.GroupNorm(2, 6), nn.InstanceNorm2d(6)])
def test_a_condition_that_cannot_be_asked_is_no_crash(tmp_path: Path, norm: nn.Module) -> None:
    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(3, 6, 3, padding=1), nn.MaxPool2d(2), norm, nn.Conv2d(6, 1, 1)
            )

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            y = self.body(x)
            return {
                "seg": F.interpolate(y, size=x.shape[-2:]),
                "edge": y * (x.shape[2] % (x.shape[2] // 2) + 1),
            }

    path = export(Pooled(), torch.randn(2, 3, 32, 32), tmp_path / "net.pt2")
    assert describe(path)["dynamic"] == ["batch", "height", "width"]
    assert load_engine(path)(torch.randn(1, 3, 24, 40).numpy())["seg"].shape == (1, 1, 24, 40)


def test_a_batch_that_the_model_refuses_is_no_crash(tmp_path: Path) -> None:
    class Pairs(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            assert x.shape[0] % 2 == 0, "two pictures of a pair each"
            return {"seg": x[:, :1] * 2}

    found = describe(export(Pairs(), torch.randn(2, 3, 8, 8), tmp_path / "net.pt2"))
    assert found["dynamic"] == ["batch", "height", "width"]


def test_what_the_file_refuses_is_not_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    path = export(Places(), torch.randn(2, 3, 32, 32), tmp_path / "net.onnx")
    with pytest.raises(Exception, match="dimensions"):
        load_engine(path)(torch.randn(2, 3, 36, 32).numpy())
    assert "onnxruntime" not in capfd.readouterr().err
