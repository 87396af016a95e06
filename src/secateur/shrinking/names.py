"""Parameters and buffers by their names, of which one tensor may have several."""

from __future__ import annotations

from torch import Tensor, nn


def named(model: nn.Module) -> dict[str, Tensor]:
    """Every name of every parameter and buffer."""
    return {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers(remove_duplicate=False)),
    }


def first_names(model: nn.Module) -> dict[str, str]:
    """Every name to the first name of the same tensor, by which the tensor goes."""
    first: dict[int, str] = {}
    return {name: first.setdefault(id(tensor), name) for name, tensor in named(model).items()}


def first_paths(model: nn.Module) -> dict[str, str]:
    """Every path of every module to the first path of the same module."""
    first: dict[int, str] = {}
    return {
        path: first.setdefault(id(module), path)
        for path, module in model.named_modules(remove_duplicate=False)
    }


def unwrapped(name: str) -> str:
    """The name of a tensor or module once the wrappers of ``torch.compile`` are taken off."""
    return ".".join(part for part in name.split(".") if part != "_orig_mod")
