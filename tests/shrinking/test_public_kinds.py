"""What public networks do and these small ones do too; each once kept something that could go, or was not taken at all."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dead_channels import same
from secateur import compact


class Picked(nn.Module):
    """A sentence is what stands at its last mark (BART): how many there are is in the values; so is how far it is scaled."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.a, self.b, self.head = (
            nn.Embedding(9, 8), nn.Linear(8, 12), nn.Linear(12, 8), nn.Linear(8, 3),
        )  # fmt: skip

    def forward(self, words: Tensor) -> Tensor:
        x = self.b(torch.relu(self.a(self.words(words))))
        marked = x[words == 2, :].view(len(words), -1, x.shape[-1])
        return self.head(marked[:, -1]) * (words[0] == 2).sum().item()


@torch.no_grad()
def test_sizes_that_values_decide_are_those_of_the_example() -> None:
    torch.manual_seed(0)
    model = Picked().eval()
    model.b.weight[:, :5] = 0
    words = torch.randint(3, 9, (2, 5))
    words[:, 3:] = 2
    small = compact(model, words)
    assert small.a.out_features == 7
    for x in (words, words.flip(1)):
        assert same(model(x), small(x))
