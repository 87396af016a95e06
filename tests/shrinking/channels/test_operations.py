"""The table of operations, tensors that are stored once where they repeat, and sets of labels."""

from __future__ import annotations

import torch

from secateur.shrinking.channels import operations as ops
from secateur.shrinking.channels.compressed import along, compress, jointly, varying
from secateur.shrinking.channels.labelling import Union


def test_no_operation_is_of_two_kinds() -> None:
    kinds = [ops.POINTWISE, ops.TRIANGLES, ops.MOVES, ops.SPATIAL, ops.REDUCTIONS, ops.MIXINGS, ops.CREATIONS]
    names = [name for kind in kinds for name in kind]
    assert len(names) == len(set(names))


def test_repeated_axes_are_stored_once() -> None:
    x = torch.arange(3).view(1, 3, 1, 1).expand(2, 3, 4, 4).contiguous()
    small = compress(x)
    assert torch.equal(small, x)
    assert small.untyped_storage().nbytes() == 3 * 8
    assert varying(small) == [1]
    assert along(small, 1).tolist() == [0, 1, 2]
    assert along(small, 2) is None
    assert along(compress(torch.full((2, 2), torch.nan)), 0) is not None
    a, b = jointly([small, torch.zeros(4)], (2, 3, 4, 4))
    assert a.shape == (1, 3, 1, 4)
    assert b.shape == (1, 3, 1, 4)


def test_sets_join() -> None:
    union = Union()
    labels = union.fresh(6)
    union.join(labels[:2], labels[2:4])
    union.join(labels[1:2], labels[4:])
    assert union.find(labels).tolist() == [0, 1, 0, 1, 1, 1]
    assert union.find(torch.tensor([-1, 3])).tolist() == [-1, 1]
