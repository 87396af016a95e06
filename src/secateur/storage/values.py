"""Saved values to a model's tensors, of whatever dtype and however they lie in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from secateur.problem import is_repeated, same, tensor_parts, write


def finite(tensor: Tensor) -> Tensor:
    """Which elements are neither NaN nor infinite, bool of the same shape; of formats of one byte too."""
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return torch.ones_like(tensor, dtype=torch.bool)
    if tensor.dtype.itemsize > 1:
        return tensor.isfinite()
    try:
        return tensor.float().isfinite()
    except NotImplementedError:  # of four bits, where every value is a number
        return torch.ones(tensor.shape, dtype=torch.bool)


def is_finite(tensor: Tensor) -> bool:
    """Whether all of its numbers are, of a sparse one those that it holds."""
    return bool(finite(tensor_parts(tensor)[0]).all())


def restore(tensors: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> None:
    """Copies saved values into the model's tensors."""
    for name, tensor in tensors.items():
        write(tensor, saved[name])


@torch.no_grad()
def check_shared(source: str, tensors: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> None:
    """Raises ValueError where the model holds several values of a file in one place, and the file has different ones.

    So it is with tied weights, views, and tensors of ``expand``. Nothing is changed.

    Args:
        source: Where the values are from, for the error.
        tensors: The model's.
        saved: Values for all of them, of the same shapes.
    """
    for names in _groups(tensors):
        memory = tensors[names[0]].untyped_storage().clone()
        views = {name: _view(tensors[name], memory) for name in names}
        restore(views, saved)
        wrong = [name for name, view in views.items() if not same(view, saved[name].to(view))]
        if wrong:
            shown = list(dict.fromkeys([*wrong, *names]))[:3]
            raise ValueError(
                f"{source} belongs to another model: in this one {' and '.join(shown)} {'are' if len(shown) > 1 else 'is'} one place in "
                "memory (tied weights, or a tensor made by expand), and the file has different values for it. Build the model it was "
                "saved from, or clone() what is to be apart."
            )


def _groups(tensors: Mapping[str, Tensor]) -> Iterable[list[str]]:
    """Names that lie in one memory, and each that lies there several times over."""
    found: dict[tuple[torch.device, int], list[str]] = {}
    for name, tensor in tensors.items():
        plain = type(tensor) in (Tensor, nn.Parameter) and tensor.layout == torch.strided
        odd = tensor.is_meta or tensor.is_quantized or tensor.is_nested
        if plain and not odd and tensor.numel():
            found.setdefault((tensor.device, tensor.untyped_storage().data_ptr()), []).append(name)
    return [names for names in found.values() if len(names) > 1 or is_repeated(tensors[names[0]])]


def _view(tensor: Tensor, memory: torch.UntypedStorage) -> Tensor:
    """What ``tensor`` would be in another memory."""
    made = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
    made.set_(memory, tensor.storage_offset(), tensor.size(), tensor.stride())
    made = made.conj() if tensor.is_conj() else made
    negative = torch._neg_view  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
    return negative(made) if tensor.is_neg() else made
