"""Small problems that many tests train on."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from secateur.problem.problem import Problem, Task


class TwoHeads(nn.Module):
    """A shared trunk with BatchNorm and dropout, and two heads; inherits and declares nothing of ours."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Conv2d(width, width, 3, padding=1),
        )
        self.colour = nn.Conv2d(width, 5, 1)
        self.shade = nn.Sequential(nn.Conv2d(width, 8, 1), nn.ReLU(), nn.Conv2d(8, 1, 1))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = torch.relu(self.trunk(x))
        return {"colour": self.colour(features), "shade": self.shade(features)}


def tasks() -> dict[str, Task]:
    return {"colour": Task(F.cross_entropy), "shade": Task(F.l1_loss)}


def batches(count: int = 6, dtype: torch.dtype = torch.float32, partial: bool = False) -> list:
    """Learnable batches; with ``partial`` every other batch lacks one task."""
    draw = torch.Generator().manual_seed(1)
    made = []
    for index in range(count):
        x = torch.randn(4, 3, 8, 8, generator=draw)
        targets = {
            "colour": x.sum(1).clamp(-2, 2).add(2).round().long(),
            "shade": x.mean(1, keepdim=True).to(dtype),
        }
        if partial:
            targets.pop("shade" if index % 2 else "colour")
        made.append((x.to(dtype), targets))
    return made


def two_heads(
    seed: int = 0, width: int = 16, dtype: torch.dtype = torch.float32, partial: bool = False
) -> Problem:
    torch.manual_seed(seed)
    data = batches(dtype=dtype, partial=partial)
    return Problem(TwoHeads(width).to(dtype), tasks(), data, data[:2], data[:2])


class _Named(TensorDataset):
    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        x, colour, shade = super().__getitem__(index)
        return x, {"colour": colour, "shade": shade}


def shuffled_loader(generator: torch.Generator | None = None) -> DataLoader:
    """A user's own loader, shuffled, that knows nothing of steps."""
    made = batches()
    data = _Named(
        torch.cat([x for x, _ in made]),
        torch.cat([t["colour"] for _, t in made]),
        torch.cat([t["shade"] for _, t in made]),
    )
    return DataLoader(data, batch_size=4, shuffle=True, generator=generator)


def weights(problem: Problem) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in problem.model.state_dict().items()}


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


IGNORED = 255


def masked(prediction: Tensor, target: Tensor) -> Tensor:
    valid = target > -1e3
    return (prediction - target)[valid].abs().mean()


def ignoring(shade: Any = masked) -> dict[str, Task]:
    return {"colour": Task(partial(F.cross_entropy, ignore_index=IGNORED)), "shade": Task(shade)}


def ignored(target: Tensor) -> Tensor:
    return torch.full_like(target, IGNORED if not target.is_floating_point() else -1e4)


def spoilt(data: list, missing: dict[int, tuple[str, ...]], how: str) -> list:
    """Some batches without labels of some tasks: ``left out``, ``None``, ``ignored`` or ``empty``."""
    made = []
    for i, (x, targets) in enumerate(data):
        own = dict(targets)
        for task in missing.get(i, ()):
            if how == "left out":
                del own[task]
            else:
                own[task] = {"None": None, "ignored": ignored(own[task]), "empty": own[task][:0]}[how]
        made.append((x, own))
    return made
