"""Parameters and buffers by their names, of which one tensor may have several."""

from __future__ import annotations

from collections.abc import Collection, Mapping

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


def listed(names: Collection[str], most: int = 6) -> str:
    """Names for a line that can be read; all of them are in the record."""
    first = ", ".join(sorted(names)[:most])
    return first if len(names) <= most else f"{first} and {len(names) - most} more"


def counted(channels: Mapping[str, int]) -> str:
    """Names, each with how many channels, for such a line."""
    return listed([f"{name} {count}" for name, count in channels.items()])


def check_values(verb: str, model: nn.Module) -> None:
    """Raises ValueError where parameters or buffers have no values."""
    if empty := [name for name, tensor in named(model).items() if tensor.is_meta]:
        raise ValueError(
            f"{verb}: parameters on the meta device have no values ({listed(empty)}); materialise them first: "
            "model.to_empty(device='cpu'), then load the trained weights (model.load_state_dict, secateur.load)."
        )
