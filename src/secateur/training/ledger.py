"""What the training loop writes down: mean losses, weights, densities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

Row = dict[str, Any]


class Ledger:
    """Adds up losses on their device between two rows; nothing is read back until a row is asked for."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._weights: dict[str, Tensor | float] = {}
        self._means: dict[str, float] = {}

    def add(self, losses: Mapping[str, Tensor], weights: Mapping[str, Tensor | float]) -> None:
        """Takes the losses and weights of one step."""
        for task, loss in losses.items():
            value = loss.detach().float()
            self._sums[task] = self._sums.get(task, torch.zeros_like(value)) + value
            self._counts[task] = self._counts.get(task, 0) + 1
        self._weights.update({t: w.detach() if isinstance(w, Tensor) else w for t, w in weights.items()})

    def means(self) -> dict[str, float]:
        """Mean loss per task since the last row, or of that row where it is of this step."""
        found = {task: float(total) / self._counts[task] for task, total in self._sums.items()}
        return found or self._means

    def row(self) -> Row:
        """Mean loss and last weight per task since the last row."""
        self._means = self.means() if self._sums else {}
        row: Row = {"loss": self._means, "weight": {task: float(w) for task, w in self._weights.items()}}
        self._sums, self._counts = {}, {}
        return row

    def state_dict(self) -> dict[str, Any]:
        """The sums since the last row."""
        return {"sums": self._sums, "counts": self._counts, "weights": self._weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up :meth:`state_dict`."""
        self._sums, self._counts, self._weights = (
            dict(state["sums"]),
            dict(state["counts"]),
            dict(state["weights"]),
        )
