"""A function of prediction and target as a metric."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from secateur.measures.metrics.states import add_state
from secateur.problem import described, unlabelled


class MeanOf(Metric):
    """Mean over the images of what a function gives for each batch; nan without any.

    A batch in which no label is valid, so that the function gives nan whatever the prediction, does not count.

    Args:
        function: ``(prediction, target) -> number``, a mean over the batch.
        higher_is_better: The direction, for floors, ΔT and reports; None: the function's own attribute of that name, if it has one.
    """

    is_differentiable = False
    full_state_update = False
    total: Tensor
    images: Tensor

    def __init__(
        self, function: Callable[[Tensor, Tensor], Any], higher_is_better: bool | None = None
    ) -> None:
        super().__init__()
        if not callable(function):
            raise ValueError(
                f"MeanOf: function is {function!r}; give a function (prediction, target) -> number."
            )
        self.function = function
        own = getattr(function, "higher_is_better", None)
        vars(self)["higher_is_better"] = own if higher_is_better is None else higher_is_better
        add_state(self, "total", torch.tensor(0.0, dtype=torch.float64))
        add_state(self, "images", torch.tensor(0))
        # A state of its own keeps functions that agree on the first batch apart, see add_settings; in small numbers, because
        # torchmetrics compares states only nearly.
        add_state(self, "which", torch.tensor(list(id(function).to_bytes(8, "little"))), "max")

    def update(self, prediction: Tensor, target: Any) -> None:
        """Counts one batch.

        Args:
            prediction: (N, ...).
            target: What the function takes.

        Raises:
            ValueError: If the function gives no number.
        """
        value = self.function(prediction, target)
        if isinstance(value, Tensor) and value.numel() == 1:
            value = value.item()
        if isinstance(value, bool) or not isinstance(value, Real):
            raise ValueError(f"it gave {described(value)}; it must give one number, the mean over the batch.")
        if value != value and unlabelled(self.function, prediction, target):
            return
        count = len(prediction) if prediction.dim() else 1
        self.total += float(value) * count
        self.images += count

    def compute(self) -> Tensor:
        """The mean."""
        return self.total / self.images
