"""Group sparsity as published: oracle T10."""

from __future__ import annotations

import pytest
import torch

from secateur.measures.metrics import group_sparsity


def test_a_zero_input_channel_is_a_group_and_a_zero_filter_is_not() -> None:
    weight = torch.ones(4, 5, 3, 3)
    weight[:, 2] = 0
    found = group_sparsity([weight])
    assert (found.groups, found.parameters, found.elements) == (1 / 5, 1 / 5, 1 / 5)
    assert group_sparsity([weight], axis="out").groups == 0.0
    weight = torch.ones(4, 5, 3, 3)
    weight[1] = 0
    assert group_sparsity([weight]).groups == 0.0
    assert group_sparsity([weight]).elements == 1 / 4
    found = group_sparsity([weight], axis="out")
    assert (found.groups, found.parameters) == (1 / 4, 1 / 4)


def test_slices_count_alike_and_isolated_zeros_only_as_elements() -> None:
    small, large = torch.ones(2, 3), torch.ones(8, 5, 3, 3)
    small[:, 0] = 0  # 2 elements
    large[:, :2] = 0  # 144 elements
    large[0, 4, 1, 1] = 0
    found = group_sparsity([small, large])
    assert found.groups == 3 / 8
    assert found.parameters == pytest.approx(146 / 366)
    assert found.elements == pytest.approx(147 / 366)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="weights is empty"):
        group_sparsity([])
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        group_sparsity([torch.ones(3)])
    with pytest.raises(ValueError, match="axis is 'input'"):
        group_sparsity([torch.ones(3, 3)], axis="input")  # type: ignore[arg-type]
