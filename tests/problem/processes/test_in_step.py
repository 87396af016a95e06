"""Layers and losses of a batch that two processes share: outputs, gradients and draws of one process on all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from processes.two import in_two
from secateur.problem import Dropout, InStep, Task, Whole, from_first

pytestmark = pytest.mark.forks
LAYERS: dict[str, Any] = {
    "batch norm": lambda: nn.BatchNorm2d(3),
    "cumulative": lambda: nn.BatchNorm2d(3, momentum=None),
    "without scale": lambda: nn.BatchNorm2d(3, affine=False),
    "without statistics": lambda: nn.BatchNorm2d(3, track_running_stats=False),
    "of features": lambda: nn.Sequential(nn.Flatten(), nn.BatchNorm1d(48)),
    "dropout": lambda: nn.Dropout(0.4),
    "dropout by bits": lambda: Dropout(0.4),
    "channels": lambda: nn.Dropout2d(0.4),
    "called again": lambda: Again(nn.Dropout),
    "called again by bits": lambda: Again(Dropout),
    "attention": lambda: Attends(None),
    "causal attention": lambda: Attends("causal"),
    "masked attention": lambda: Attends("masked"),
}


class Again(nn.Module):
    """Layers that are called a second time in the backward pass, in place of what they keep."""

    def __init__(self, dropout: type[nn.Dropout]) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.BatchNorm2d(3), dropout(0.4))

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.layers, x, use_reentrant=False)


class Attends(nn.Module):
    """Attention of the rows of each channel, with dropout."""

    def __init__(self, how: str | None) -> None:
        super().__init__()
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        sees = (
            torch.tensor([[True, True, False, False]] * 3 + [[False] * 4]) if self.how == "masked" else None
        )
        return F.scaled_dot_product_attention(x, x + 1, x - 1, sees, 0.3, self.how == "causal")


def run(layer: str, rank: int, world: int, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """Output, gradients and buffers of this process's share of eight samples."""
    torch.manual_seed(5)
    made = LAYERS[layer]().to(dtype)
    x = torch.randn(8, 3, 4, 4, dtype=torch.float64) * 3 + 50
    slopes = torch.randn(8, 3, 4, 4, dtype=torch.float64)
    own = slice(rank * 8 // world, (rank + 1) * 8 // world)
    given = x[own].to(dtype).requires_grad_()
    out = made(given)
    out = made(given)
    out.backward(slopes[own].to(dtype).reshape(out.shape))
    assert given.grad is not None
    found = {"out": out.detach(), "by x": given.grad, "drawn": torch.rand(2)}
    found |= {name: buffer.clone() for name, buffer in made.named_buffers()}
    return found | {f"by {name}": p.grad for name, p in made.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("layer", LAYERS)
def test_two_shares_are_one_batch(layer: str, tmp_path: Path) -> None:
    def share(rank: int) -> dict[str, Tensor]:
        with InStep():
            return run(layer, rank, 2)

    one, two = run(layer, 0, 1), in_two(share, tmp_path / "two")
    assert one.keys() == two[0].keys()
    for name, value in one.items():
        if name in ("out", "by x"):
            found = torch.cat([share[name] for share in two])
        elif name.startswith("by "):  # each process has its share's gradient
            found = two[0][name] + two[1][name]
        else:
            assert torch.equal(two[0][name], two[1][name])
            found = two[0][name]
        torch.testing.assert_close(found, value, rtol=1e-6, atol=1e-8)


def test_evaluation_and_what_is_outside_are_left_alone(tmp_path: Path) -> None:
    """No message is sent: one process alone runs it, while the other has ended."""

    def share(rank: int) -> dict[str, Tensor]:
        x = torch.randn(2, 3, 4, 4)
        layer = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5)).eval()
        if rank:
            with InStep():
                layer(x)
            layer.train()(x)
        return {}

    in_two(share, tmp_path / "two")


def test_what_is_too_large_to_draw_for_all_is_drawn_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secateur.problem.processes.in_step._MOST", 10)

    def share(rank: int) -> dict[str, Tensor]:
        torch.manual_seed(3)
        with InStep():
            out = F.dropout(torch.ones(1000), 0.25)
        return {"out": out, "drawn": torch.rand(2)}

    one, two = in_two(share, tmp_path / "two")
    assert torch.equal(one["drawn"], two["drawn"])
    assert not torch.equal(one["out"], two["out"])
    for found in (one["out"], two["out"]):
        assert abs(float((found == 0).float().mean()) - 0.25) < 0.06
        assert found.unique().tolist() == pytest.approx([0.0, 4 / 3])


def test_half_precision_is_computed_in_single(tmp_path: Path) -> None:
    def share(rank: int) -> dict[str, Tensor]:
        with InStep():
            return run("batch norm", rank, 2, torch.bfloat16)

    one, two = run("batch norm", 0, 1), in_two(share, tmp_path / "two")
    assert two[0]["out"].dtype == torch.bfloat16
    found = torch.cat([share["out"] for share in two]).double()
    assert float((found - one["out"]).abs().mean()) < 0.1  # of the input's 8 bits around 50


def test_losses_of_tasks_that_one_process_lacks(tmp_path: Path) -> None:
    """Counted, and put together from predictions of other sizes; a loss with infinities in its predictions too."""
    tasks = {
        "counted": Task(F.mse_loss, count=lambda p, _: torch.tensor(p.numel())),
        "together": Task(lambda p, t: (p.exp() - t).square().mean()),
        "nobody's": Task(F.mse_loss),
    }

    def share(rank: int) -> dict[str, Tensor]:
        whole, size = Whole(tasks, torch.device("cpu")), 1 + 2 * rank
        own = {"together": torch.arange(size * 2.0).view(size, 2).sub(1.0).requires_grad_()}
        if rank:
            own["counted"] = torch.full((3,), 2.0, requires_grad=True)
        else:
            own["together"] = torch.tensor([[-torch.inf, 0.0]]).requires_grad_()
        found = whole(own, {name: torch.zeros_like(p) for name, p in own.items()})
        assert found.asked == ["counted", "together"]
        assert found.losses.keys() == own.keys()
        sum(found.losses.values()).backward()
        by = {f"by {name}": p.grad for name, p in own.items()}
        return {**found.known, **by}

    one, two = in_two(share, tmp_path / "two")
    assert one["counted"] == two["counted"] == 4.0
    everything = torch.tensor([[-torch.inf, 0.0], [-1.0, 0.0], [1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    loss = everything.exp().square().mean()
    loss.backward()
    assert everything.grad is not None
    torch.testing.assert_close(one["together"], loss.detach())
    # Times two, which DDP's mean over two processes takes back.
    torch.testing.assert_close(torch.cat([one["by together"], two["by together"]]), 2 * everything.grad)
    torch.testing.assert_close(two["by counted"], 2 * torch.full((3,), 4.0 / 3))


@pytest.mark.parametrize("target", [{"boxes": 1}, torch.zeros(())])
def test_what_cannot_be_put_together_says_what_to_give(target: Any, tmp_path: Path) -> None:
    def share(rank: int) -> dict[str, Tensor]:
        whole = Whole({"boxes": Task(lambda p, t: p.sum())}, torch.device("cpu"))
        with pytest.raises(ValueError, match=r"Task 'boxes'.*give Task\(\.\.\., count=\)"):
            whole({"boxes": torch.ones(2, 3)}, {"boxes": target})
        return {}

    in_two(share, tmp_path / "two")


def test_what_the_first_raises_all_raise(tmp_path: Path) -> None:
    def share(rank: int) -> dict[str, Tensor]:
        device = torch.device("cpu")

        def made() -> dict[str, Any]:
            assert rank == 0
            return {"a": (1, "x"), "b": torch.arange(3)}

        def wrong() -> None:
            raise FileNotFoundError("no such folder")

        assert from_first(made, device)["a"] == (1, "x")
        with pytest.raises(FileNotFoundError, match="no such folder"):
            from_first(wrong, device)
        return {"b": from_first(made, device)["b"]}

    for found in in_two(share, tmp_path / "two"):
        assert found["b"].tolist() == [0, 1, 2]
