"""What compaction removed, and how to bring a freshly built network to the same shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase  # pyright: ignore[reportPrivateUsage]
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd  # pyright: ignore[reportPrivateUsage]

from secateur.shrinking.record import check_record

_ATTRIBUTE = "_secateur_compaction"
_HEAD_COUNTS, _HEAD_SIZES = (
    ("num_attention_heads", "num_heads", "n_heads"),
    ("attention_head_size", "head_dim"),
)


@dataclass
class Compaction:
    """The record of a smaller network.

    Args:
        kept: Parameter or buffer -> axis -> the original indices that are left along it.
        constants: Path of a module that gave a constant -> settings of the :class:`Constant` in its place; empty
            settings stand for ``nn.Identity``.
        biases: Paths of modules that were given a bias.
        pinned: Why channels could not be removed -> how many.
        channels: Channels before and after.
    """

    kept: dict[str, dict[int, list[int]]] = field(default_factory=dict[str, dict[int, list[int]]])
    constants: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    biases: list[str] = field(default_factory=list[str])
    pinned: dict[str, int] = field(default_factory=dict[str, int])
    channels: tuple[int, int] = (0, 0)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for a file."""
        kept = {name: {str(axis): ids for axis, ids in axes.items()} for name, axes in self.kept.items()}
        own = {"constants": self.constants, "biases": self.biases, "pinned": self.pinned}
        return {"kept": kept, "channels": list(self.channels), **own}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Compaction:
        """The record that :meth:`to_dict` wrote.

        Raises:
            ValueError: If it is none.
        """
        try:
            kept = {n: {int(a): list(ids) for a, ids in axes.items()} for n, axes in found["kept"].items()}
            constants, biases = dict(found["constants"]), list(found["biases"])
            before, after = found["channels"]
            made = cls(kept, constants, biases, dict(found["pinned"]), (before, after))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"its record of what was removed cannot be read ({error!r})") from error
        check_record(made.kept, made.constants, made.biases)
        return made

    def same_cut(self, other: Compaction) -> bool:
        """Whether the same was removed, whatever was said about it."""
        mine, theirs = (self.kept, self.constants), (other.kept, other.constants)
        return mine == theirs and set(self.biases) == set(other.biases)

    def text(self) -> str:
        """In words: what went, and what was pinned and why."""
        before, after = self.channels
        lines = [f"{before - after} of {before} channels removed."]
        if self.constants:
            lines.append(f"Replaced, because they gave constants: {', '.join(sorted(self.constants))}.")
        lines += [f"{count} channels stay: {reason}." for reason, count in self.pinned.items()]
        return "\n".join(lines)


class Constant(nn.Module):
    """Stands for a layer whose output does not depend on its input.

    Args:
        channels: Length of the constant.
        kernel: ``(size, stride, padding, dilation)`` for each spatial axis; empty for a linear layer.
    """

    def __init__(self, channels: int, kernel: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(channels))
        self.kernel = [tuple(axis) for axis in kernel]

    def forward(self, x: Tensor) -> Tensor:
        """(N, anything, ...) -> (N, channels, ...), as large as the layer's output was."""
        if not self.kernel:
            return self.value.to(x.dtype).expand(*x.shape[:-1], -1).contiguous()
        space = [
            (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
            for size, (kernel, stride, padding, dilation) in zip(x.shape[2:], self.kernel, strict=True)
        ]
        value = self.value.to(x.dtype).view(1, -1, *[1] * len(space))
        return value.expand(x.shape[0], -1, *space).contiguous()  # the next layer may work in place


def compaction(model: nn.Module) -> Compaction | None:
    """The record of what was removed from ``model``; None if nothing ever was."""
    return model.__dict__.get(_ATTRIBUTE)


def record(model: nn.Module, made: Compaction) -> None:
    """Keeps the record with the model, composed with that of earlier rounds."""
    old = compaction(model)
    if old is not None:
        for name, axes in old.kept.items():
            for axis, indices in axes.items():
                mine = made.kept.setdefault(name, {})
                mine[axis] = [indices[i] for i in mine[axis]] if axis in mine else indices
        made.constants = {**old.constants, **made.constants}
        made.biases = sorted({*old.biases, *made.biases})
        made.channels = (old.channels[0], made.channels[1])
    model.__dict__[_ATTRIBUTE] = made


def rebuild(model: nn.Module, made: Compaction) -> nn.Module:
    """Brings a freshly built network of the user's class to the shape of the record, in place; values are not set.

    Raises:
        ValueError: If the network has not the layers that the record names.
    """
    state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    modules = dict(model.named_modules())
    if absent := [path for path in [*made.constants, *made.biases] if path not in modules]:
        raise ValueError(
            f"The file is of a network with a layer {absent[0]!r}, which this one has not; build the same class."
        )
    for path, settings in made.constants.items():
        replace(model, path, Constant(**settings) if settings else nn.Identity())
    for path in made.biases:
        if not isinstance(getattr(modules[path], "weight", None), Tensor):
            raise ValueError(f"The file is of a network whose {path!r} has a weight; build that class.")
        add_bias(modules[path])
    present = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for name, axes in made.kept.items():
        if name not in present:
            if name in state:
                continue  # it went with a layer that was replaced
            raise ValueError(
                f"The file is of a network with a parameter {name!r}, which this one has not; build the same class."
            )
        for axis, indices in axes.items():
            if indices and (present[name].dim() <= axis or indices[-1] >= present[name].shape[axis]):
                raise ValueError(
                    f"The file is of a network whose {name!r} has more than {tuple(present[name].shape)} elements; "
                    "build the model with the settings it was trained with."
                )
    cut(
        model,
        {n: {a: torch.tensor(i) for a, i in axes.items()} for n, axes in made.kept.items() if n in present},
    )
    model.__dict__[_ATTRIBUTE] = made
    return model


def add_bias(module: nn.Module) -> None:
    """Gives a layer without bias one of zeros."""
    weight: Any = module.weight
    outputs = module.out_channels if isinstance(module, _ConvNd) else weight.shape[0]
    module.register_parameter("bias", nn.Parameter(weight.new_zeros(outputs)))


def replace(model: nn.Module, path: str, new: nn.Module) -> None:
    """Puts ``new`` in the place of the module at ``path``."""
    owner, _, name = path.rpartition(".")
    setattr(model.get_submodule(owner), name, new)


@torch.no_grad()
def cut(model: nn.Module, kept: Mapping[str, Mapping[int, Tensor]]) -> None:
    """Cuts parameters and buffers to the indices left along each axis, and tells their modules."""
    owners = {child: module for module in model.modules() for child in module.children()}
    for module in model.modules():
        held = {**dict(module.named_parameters(recurse=False)), **dict(module.named_buffers(recurse=False))}
        for name, tensor in held.items():
            axes = next((kept[n] for n in _names(model, tensor) if n in kept), None)
            if not axes:
                continue
            for axis, indices in axes.items():
                if tensor.shape[axis] != indices.numel():
                    _tell(module, name, axis, tensor.shape[axis], indices.numel())
                    if axis == 0 and module in owners:
                        _tell_heads(owners[module], tensor.shape[axis], indices.numel())
    done: set[int] = set()
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if name in kept and id(tensor) not in done:
            done.add(id(tensor))
            value = tensor.data
            for axis, indices in kept[name].items():
                value = value.index_select(axis, indices.to(value.device))
            tensor.data = value.clone()
            tensor.grad = None


def _names(model: nn.Module, tensor: Tensor) -> list[str]:
    everything = [
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    ]
    return [name for name, other in everything if other is tensor]


def _tell_heads(owner: Any, before: int, after: int) -> None:
    """Sets what the attention around a projection says about its heads; names as transformers has them."""
    for count, size in product(_HEAD_COUNTS, _HEAD_SIZES):
        heads, width = getattr(owner, count, None), getattr(owner, size, None)
        if not (isinstance(heads, int) and isinstance(width, int)) or heads * width != before:
            continue
        if after % width == 0:  # heads go whole; hidden units, of which there may be as many, one by one
            setattr(owner, count, after // width)
            if getattr(owner, "all_head_size", None) == before:
                owner.all_head_size = after


def _tell(module: Any, name: str, axis: int, before: int, after: int) -> None:
    """Sets what a module of torch says about its sizes."""
    if isinstance(module, _ConvNd) and name == "weight":
        inputs = isinstance(module, _ConvTransposeNd) == (axis == 0)
        if module.groups > 1 and axis == 0:  # whole groups went
            module.in_channels = module.in_channels * after // before
            module.out_channels = module.out_channels * after // before
            module.groups = module.groups * after // before
        elif inputs:
            module.in_channels = after
        else:
            module.out_channels = after
    elif isinstance(module, nn.Linear) and name == "weight":
        setattr(module, "out_features" if axis == 0 else "in_features", after)
    elif isinstance(module, _NormBase):
        module.num_features = after
    elif isinstance(module, nn.GroupNorm) and name == "weight":
        module.num_groups, module.num_channels = module.num_groups * after // before, after
    elif isinstance(module, nn.Embedding) and axis == 1:
        module.embedding_dim = after
    elif isinstance(module, nn.PReLU):
        module.num_parameters = after
