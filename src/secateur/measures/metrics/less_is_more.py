"""The measures of Less is More (2023): intersection over union by image, and cosine similarity of normals."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric

from secateur.measures.metrics.resize import Resize, check_target, resized
from secateur.measures.metrics.states import add_settings, add_state
from secateur.problem import check_count


class _Mean(Metric):
    """A sum over images or pixels, divided by their number; nan without any."""

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, kind: int, resize: Resize) -> None:
        super().__init__()
        self.resize: Resize = resize
        add_state(self, "total", torch.tensor(0.0, dtype=torch.float64))
        add_state(self, "count", torch.tensor(0))
        add_settings(self, kind, resize=resize)

    def compute(self) -> Tensor:
        """The mean; a float64 scalar."""
        return self.total / self.count


class ImageIoU(_Mean):
    """Intersection over union of all classes of an image together, averaged over images, in [0, 1].

    With h hits among n labelled pixels it is ``h / (2n - h)`` (micro-imagewise, as the code of Less is More has it).
    Images without a labelled pixel do not count.

    Args:
        ignore_index: Label that is left out.
        resize: How a coarser prediction is brought to the target's size.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(self, ignore_index: int = 255, *, resize: Resize = "bilinear") -> None:
        super().__init__(0, resize)
        check_count("ignore_index", ignore_index, None)
        self.ignore_index = ignore_index

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Counts one batch.

        Args:
            prediction: (N, K, h, w) logits.
            target: (N, H, W) int64 labels or ``ignore_index``.

        Raises:
            ValueError: If a shape is wrong.
        """
        check_target(target, (None, None, None), "(N, H, W) labels")
        found = resized(prediction, target, prediction.shape[1], self.resize).argmax(1)
        valid = target != self.ignore_index
        hits = ((found == target) & valid).flatten(1).sum(1).double()  # (N,)
        labelled = valid.flatten(1).sum(1).double()
        self.total = self.total + (hits / (2 * labelled - hits).clamp(min=1)).sum()
        self.count = self.count + (labelled > 0).sum()


class CosineSimilarity(_Mean):
    """Mean cosine between predicted and true normals over all valid pixels, in [-1, 1].

    Args:
        resize: How a coarser prediction is brought to the target's size.
    """

    def __init__(self, *, resize: Resize = "bilinear") -> None:
        super().__init__(1, resize)

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Counts one batch.

        Args:
            prediction: (N, 3, h, w), of any length.
            target: (N, 3, H, W) unit normals; the zero vector marks an invalid pixel.

        Raises:
            ValueError: If a shape is wrong.
        """
        check_target(target, (None, 3, None, None), "(N, 3, H, W) unit normals")
        valid = target.abs().sum(1) > 0
        mine = F.normalize(resized(prediction, target, 3, self.resize).double(), dim=1)
        cosine = (mine * F.normalize(target.double(), dim=1)).sum(1)
        self.total = self.total + torch.where(valid, cosine, 0.0).sum()
        self.count = self.count + valid.sum()
