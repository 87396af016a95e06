"""Labels of whole images: the share that is right."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from secateur.measures.metrics.resize import check_target
from secateur.measures.metrics.states import add_state


class Accuracy(Metric):
    """Share of labelled images whose label is predicted, in [0, 1]; nan without any.

    One logit says yes above 0, several vote by the largest. (torchmetrics' own takes logits that happen to lie in
    [0, 1] for probabilities.)
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    hits: Tensor
    images: Tensor

    def __init__(self) -> None:
        super().__init__()
        add_state(self, "hits", torch.tensor(0))
        add_state(self, "images", torch.tensor(0))

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Counts one batch.

        Args:
            prediction: (N, 1) or (N, K) logits.
            target: (N,) labels, 0 or 1, or 0..K-1; -1 marks an image without one.

        Raises:
            ValueError: If a shape is wrong.
        """
        check_target(target, (None,), "(N,) labels, -1 = none")
        if prediction.ndim != 2 or prediction.shape[0] != target.shape[0]:
            raise ValueError(
                f"The prediction has shape {tuple(prediction.shape)}, the target {tuple(target.shape)}; "
                f"the prediction must be (N={target.shape[0]}, K) logits."
            )
        found = (prediction[:, 0] > 0).long() if prediction.shape[1] == 1 else prediction.argmax(1)
        valid = target != -1
        self.hits = self.hits + ((found == target) & valid).sum()
        self.images = self.images + valid.sum()

    def compute(self) -> Tensor:
        """The share; a float64 scalar."""
        return self.hits.double() / self.images
