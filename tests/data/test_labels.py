import pytest
import torch
from torch.nn import functional as F

from secateur.data.labels import binary, binary_loss, classification, classification_loss


def test_losses_leave_images_without_a_label_out() -> None:
    logits, labels = torch.randn(4, 3), torch.tensor([0, 2, -1, 1])
    kept = labels >= 0
    torch.testing.assert_close(
        classification_loss(logits, labels), F.cross_entropy(logits[kept], labels[kept])
    )
    yes = labels.clamp(max=1)
    expected = F.binary_cross_entropy_with_logits(logits[kept, 0], yes[kept].float())
    torch.testing.assert_close(binary_loss(logits[:, :1], yes), expected)


def test_without_a_label_the_loss_is_zero() -> None:
    none = torch.tensor([-1, -1])
    assert float(binary_loss(torch.randn(2, 1), none)) == 0.0
    assert float(classification_loss(torch.randn(2, 3), none)) == 0.0


def test_a_head_that_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match=r"returns \(N, 1\) logits"):
        binary_loss(torch.randn(2, 2), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"returns \(N, classes\) logits"):
        classification_loss(torch.randn(2, 2, 4, 4), torch.tensor([0, 1]))
    assert (binary()[1], classification("abcdefg")[1]) == (1, 7)
