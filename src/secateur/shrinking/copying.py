"""Copies of a user's network: of whatever it keeps, plain, and in double precision."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase  # pyright: ignore[reportPrivateUsage]
from torch.nn.modules.dropout import _DropoutNd  # pyright: ignore[reportPrivateUsage]
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import (
    SpectralNorm,
    SpectralNormLoadStateDictPreHook,
    remove_spectral_norm,
)
from torch.nn.utils.weight_norm import WeightNorm

from secateur.shrinking.names import named

_LISTS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def copied(model: nn.Module) -> Any:
    """A deep copy; what modules keep of a forward pass, which has a history and cannot be copied, comes without it.

    Raises:
        ValueError: If something that the model holds cannot be copied.
    """
    memo: dict[int, Any] = {}
    for tensor in _kept(model):
        memo[id(tensor)] = tensor.detach().clone()
    try:
        return copy.deepcopy(model, memo)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever an object raises that is not to be copied
        raise ValueError(
            f"The model, a {type(model).__name__}, cannot be copied ({error}); keep no open files, locks or generators in its attributes."
        ) from error


def evaluating(model: nn.Module, *, training: bool = False) -> Any:
    """A deep copy in eval mode; also where ``train`` is the user's own and returns nothing.

    Args:
        model: Left as it is.
        training: Whether lists of modules and those with code of the user's are in training mode; norms and dropout never are,
            whoever wrote them.
    """
    made = copied(model)
    made.eval()
    for module in made.modules() if training else ():
        own = type(module) in _LISTS or not type(module).__module__.startswith("torch.nn.")
        module.training = own and not isinstance(module, (_NormBase, _DropoutNd))
    return made


def plain(model: nn.Module) -> tuple[nn.Module, list[str]]:
    """A copy in which weights are parameters of their own, and what was not: wrappers of torch.compile, norms and masks of torch.

    Returns:
        The copy, and the modules whose parametrization, norm or mask was taken off.
    """
    made = copied(model)
    while isinstance(inner := getattr(made, "_orig_mod", None), nn.Module):
        made = inner
    for path, module in list(made.named_modules()):
        if path and isinstance(inner := getattr(module, "_orig_mod", None), nn.Module):
            owner, _, name = path.rpartition(".")
            setattr(made.get_submodule(owner), name, inner)
    return made, bake(made)


def bake(model: nn.Module) -> list[str]:
    """Makes plain parameters, in place, of what parametrizations, norms and masks of torch's compute in eval mode; the modules that had one."""
    found: list[str] = []
    for path, module in list(model.named_modules()):
        lists = list(cast(Mapping[str, Any], getattr(module, "parametrizations", {})))
        hooks: dict[int, Any] = module._forward_pre_hooks  # pyright: ignore[reportPrivateUsage]
        old = [
            (key, hook) for key, hook in hooks.items() if isinstance(hook, (WeightNorm, BasePruningMethod))
        ]
        if lists:  # torch's own function changes the class, which the original shares
            looked = cast(nn.Module, module.parametrizations)
            looked.eval()  # in training a spectral norm is another at each look
            values = {
                name: nn.Parameter(getattr(module, name).detach().clone(), _trains(module, name))
                for name in lists
            }
            module.__class__ = type(module).__bases__[0]
            del module.parametrizations
            for name, value in values.items():
                module.register_parameter(name, value)
        for key, hook in old:
            name = hook.name if isinstance(hook, WeightNorm) else hook._tensor_name  # pyright: ignore[reportPrivateUsage]
            trains = _trains(module, name)
            hook.remove(module)
            getattr(module, name).requires_grad_(trains)
            del hooks[key]
        spectral = [hook for hook in hooks.values() if isinstance(hook, SpectralNorm)]
        for hook in spectral:
            trains = _trains(module, hook.name)
            remove_spectral_norm(module, hook.name)
            getattr(module, hook.name).requires_grad_(trains)
        if spectral:  # torch forgets the one that it has wrapped, and nothing could be loaded
            loading: dict[int, Any] = module._load_state_dict_pre_hooks  # pyright: ignore[reportPrivateUsage]
            for key in [
                k for k, h in loading.items() if isinstance(h.hook, SpectralNormLoadStateDictPreHook)
            ]:
                del loading[key]
        if lists or old or spectral:
            found.append(path)
    return found


def _trains(module: nn.Module, name: str) -> bool:
    """Whether anything that the tensor ``name`` is computed from is trained."""
    own = (f"{name}_", f"parametrizations.{name}.")
    return any(p.requires_grad for key, p in module.named_parameters() if key.startswith(own))


@torch.no_grad()
def widened(model: nn.Module) -> dict[str, torch.dtype]:
    """Makes floating parameters and buffers float64, in place; what they were."""
    dtypes = {name: tensor.dtype for name, tensor in named(model).items() if tensor.is_floating_point()}
    for name, tensor in named(model).items():
        if name in dtypes:
            tensor.data = tensor.data.double()
            tensor.grad = None
    return dtypes


@torch.no_grad()
def narrowed(model: nn.Module, dtypes: Mapping[str, torch.dtype]) -> None:
    """Undoes :func:`widened`; what is new has the type of the weight that it belongs to."""
    for name, tensor in named(model).items():
        if tensor.is_floating_point():
            weight = f"{name.rpartition('.')[0]}.weight".lstrip(".")
            tensor.data = tensor.data.to(dtypes.get(name, dtypes.get(weight, torch.float32)))


def _kept(model: nn.Module) -> Iterator[Tensor]:
    """Tensors with a history, wherever in the attributes of modules."""
    seen: set[int] = set()
    waiting: list[Any] = [vars(module) for module in model.modules()]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Tensor):
            if value.grad_fn is not None:
                yield value
        elif isinstance(value, Mapping):
            waiting += cast(Mapping[Any, Any], value).values()
        elif isinstance(value, (list, tuple, set)):
            waiting += cast(list[Any], value)
        elif not isinstance(value, (nn.Module, type)) and hasattr(value, "__dict__"):
            waiting.append(vars(value))
