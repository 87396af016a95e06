"""The numbers of tensors however they lie in memory, sparse, nested and expanded ones too: looked at, compared and written back."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn

_BY_ROWS, _BY_COLUMNS = (torch.sparse_csr, torch.sparse_bsr), (torch.sparse_csc, torch.sparse_bsc)


def tensor_parts(tensor: Tensor) -> list[Tensor]:
    """The plain tensors that it is made of: the values first, then, of a sparse or nested one, where they are."""
    found = tensor.detach()
    if found.is_nested:
        jagged = found.layout == torch.jagged
        sizes = found.offsets() if jagged else found._nested_tensor_size()  # pyright: ignore
        return [found.values(), sizes]
    if found.layout == torch.sparse_coo:
        return [found._values(), found._indices()]  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]
    if found.layout in _BY_ROWS:
        return [found.values(), found.crow_indices(), found.col_indices()]
    if found.layout in _BY_COLUMNS:
        return [found.values(), found.ccol_indices(), found.row_indices()]
    if found.layout != torch.strided:
        return [found.to_dense()]
    return [found.int_repr()] if found.is_quantized else [found]


def same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors of one dtype hold the same bytes, NaN being the same as itself."""
    if type(one) not in (Tensor, nn.Parameter) or one.is_meta:  # without bytes, or with more than these
        return torch.equal(one, other) if not one.is_meta else other.is_meta
    if one.layout != other.layout or one.is_nested != other.is_nested:
        return False
    if one.layout != torch.strided and not one.is_nested and one.shape != other.shape:
        return False
    return all(
        mine.shape == theirs.shape and torch.equal(_bytes(mine), _bytes(theirs))
        for mine, theirs in zip(tensor_parts(one), tensor_parts(other), strict=True)
    )


@torch.no_grad()
def write(tensor: Tensor, value: Tensor) -> None:
    """Gives a tensor the values of another one of its shape, also where torch writes none: what ``expand`` or inference mode made."""
    with torch.inference_mode() if tensor.is_inference() else nullcontext():
        if tensor.layout in (*_BY_ROWS, *_BY_COLUMNS):
            value = value.to(tensor.device)
            if [part.shape for part in tensor_parts(tensor)] != [part.shape for part in tensor_parts(value)]:
                tensor.resize_as_sparse_(value)  # as many places as it has
        _once(tensor, tensor).copy_(_once(value, tensor))


def write_back(tensor: Tensor, value: Tensor) -> None:
    """As :func:`write`, where it differs: so that what was only read is never written."""
    if not tensor.is_meta and not same(tensor, value):
        write(tensor, value)


def is_repeated(tensor: Tensor) -> bool:
    """Whether it lies in one place several times, as ``expand`` makes it: torch writes no such tensor."""
    return bool(_repeated(tensor))


def _repeated(tensor: Tensor) -> list[int]:
    """Axes along which every element is the same one in memory."""
    if tensor.layout != torch.strided or tensor.is_nested:
        return []
    return [axis for axis, step in enumerate(tensor.stride()) if step == 0 and tensor.shape[axis] > 1]


def _once(tensor: Tensor, like: Tensor) -> Tensor:
    """``tensor`` without what ``like`` repeats."""
    for axis in _repeated(like):
        tensor = tensor.narrow(axis, 0, 1)
    return tensor


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.detach().resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8)
