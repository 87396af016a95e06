"""Weights that somebody's own code saved: a state dict, by ``torch.save`` or safetensors; reading runs no code."""

from __future__ import annotations

import warnings
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from secateur.problem import is_repeated, same, tensor_parts
from secateur.shrinking import unwrapped
from secateur.storage.extra import check_extra, set_extra_states
from secateur.storage.outline import is_extra, short
from secateur.storage.saving import is_ours, load
from secateur.storage.values import check_shared, finite, restore

_KEYS = ("state_dict", "model", "model_state_dict")  # under which checkpoints hold weights
_COUNTER = "num_batches_tracked"  # of BatchNorm, which files from before torch 1.0 lack
_FEW = 0.005  # of the weights that are not zero; some are next to zero in any network


def load_weights(model: nn.Module, path: Path, name: str = "--init") -> None:
    """Puts a state dict into ``model``, all of it.

    Taken as they are meant: names under a wrapper such as ``module.`` of DDP, another precision, a checkpoint that holds a state dict
    beside other things, files that lack the counters of BatchNorm, and tied weights that a safetensors file holds once. A warning names
    tensors of which a coarser precision makes zeros.

    Args:
        model: As it was where anything raises.
        path: Of ``torch.save``, of safetensors, or of :func:`secateur.save`.
        name: Of the argument, for errors.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is none, or of another network, holds several that fit and differ, or what is NaN or infinite here.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{name}: no file at {path}; check the path.")
    state = model.state_dict()
    extra = {n for n in state if is_extra(n)}
    own = {n: t for n, t in state.items() if n not in extra}
    if path.suffix == ".safetensors":
        if is_ours(path):
            load(model, path)
            return
        held: Any = _tensors(path)
    else:
        held = _pickled(path, name)
        _check_one(held, own, extra, path, name)
        for key in _KEYS:
            held = held[key] if isinstance(held, dict) and isinstance(held.get(key), dict) else held
    if not isinstance(held, dict):
        raise ValueError(f"{name}: {path} holds {type(held).__name__}; save model.state_dict().")
    held = _whole(held, own, extra)
    missing, more = sorted(own.keys() - held.keys()), sorted(map(str, held.keys() - state.keys()))
    other = sorted(n for n in own.keys() & held.keys() if not _fits(held[n], own[n]))
    if missing or more or other:
        told = [
            f"{what} {names[:3]}"
            for what, names in (
                ("lacks", missing),
                ("has also", more),
                ("has another shape or kind of numbers of", other),
            )
            if names
        ]
        raise ValueError(
            f"{name}: {path} is of another network: it {'; '.join(told)}. Give the weights of this class, made with these options, under "
            "the names of its state_dict()."
        )
    parameters = dict(model.named_parameters(remove_duplicate=False))
    wild = [n for n, t in own.items() if not _is_sound(held[n], None if n in parameters else t)]
    if wild:
        raise ValueError(f"{name}: {path} has NaN or infinity in {wild[:3]}; take an earlier checkpoint.")
    _check_range(f"{name}: {path}", own, held, parameters)
    check_shared(f"{name}: {path}", own, held)
    given = {unwrapped(n): held[n] for n in extra & held.keys()}
    check_extra(f"{name}: {path}", given, model)
    set_extra_states(model, given, f"{name}: {path}")
    alone = {n: t for n, t in own.items() if not is_repeated(t)}
    unread = model.load_state_dict(
        {n: held[n] for n in alone}, strict=False
    ).unexpected_keys  # renamed on the way out alone
    restore({n: t for n, t in own.items() if n not in alone or n in unread}, held)


def _tensors(path: Path) -> dict[str, Tensor]:
    with safe_open(path, framework="pt") as file:  # which is_ours has read
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (it is no dict)


def _pickled(path: Path, name: str) -> Any:
    try:
        with warnings.catch_warnings(action="ignore"):  # of what is refused below
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a torn or hostile file raises of every kind
        said = "it is torn, or torch.save did not write it"
        if "weights only" in str(error).lower():
            said = "it is torn, or holds more than tensors, such as a whole module, which only code can read"
        elif isinstance(error, RuntimeError | OSError):
            said = short(error)
        raise ValueError(
            f"{name}: {path} is no file of weights ({said}); save model.state_dict() with torch.save, or use secateur.save."
        ) from error


def _is_sound(held: Tensor, own: Tensor | None) -> bool:
    """Whether all is finite; of a buffer, which may be a mask of minus infinity, or what the model has there itself."""
    held, own = tensor_parts(held)[0], None if own is None else tensor_parts(own)[0]
    wild = ~finite(held)
    if own is None or own.shape != held.shape or not bool(wild.any()):
        return not bool(wild.any())
    one, other = (t.detach().cpu().to(torch.complex128)[wild.cpu()] for t in (held, own))
    return bool(((one == other) | (one.isnan() & other.isnan())).all())


def _check_range(
    source: str, own: Mapping[str, Tensor], held: Mapping[str, Tensor], parameters: Container[str]
) -> None:
    """Raises ValueError for what is infinite in the model's precision and was not; warns of what is zero there and was not."""
    cast = {n: held[n].to(t.dtype) for n, t in own.items() if held[n].dtype != t.dtype}
    if wild := [n for n in cast if not _is_sound(cast[n], None if n in parameters else own[n])]:
        dtypes = f"{held[wild[0]].dtype} and {own[wild[0]].dtype}".replace("torch.", "")
        raise ValueError(
            f"{source} has numbers in {wild[:3]} that the model's precision does not reach ({dtypes}); load them into the model before "
            "it is given that precision and look at what is so large, or give the model another, such as bfloat16."
        )
    lost = {n: _share_lost(held[n], found) for n, found in cast.items()}
    if named := [f"{n} ({share:.0%})" for n, share in lost.items() if share > _FEW]:
        warnings.warn(
            f"{source}: in the model's precision numbers become zero that are none in the file, of {', '.join(named[:3])}"
            f"{' and others' if named[3:] else ''}; give the model a finer one, such as float32 or bfloat16.",
            stacklevel=3,
        )


def _share_lost(held: Tensor, found: Tensor) -> float:
    """Of the numbers that are not zero, the share that the other precision makes zero."""
    before, after = (
        tensor_parts(t)[0].float() if t.dtype.itemsize == 1 else tensor_parts(t)[0] for t in (held, found)
    )
    count = int((before != 0).sum())
    return int(((before != 0) & (after == 0)).sum()) / count if count else 0.0


def _check_one(held: Any, own: Mapping[str, Tensor], extra: set[str], path: Path, name: str) -> None:
    """Raises ValueError if several state dicts in a file fit and differ, such as the weights and their moving average."""
    found = [(where, _whole(part, own, extra)) for where, part in _dicts(held)]
    fit = [(where, whole) for where, whole in found if _is_of(whole, own, extra)]
    if any(
        not same(whole[n].to(t.dtype), fit[0][1][n].to(t.dtype))
        for _, whole in fit[1:]
        for n, t in own.items()
    ):
        places = [where for where, _ in fit]
        raise ValueError(
            f"{name}: {path} holds {len(fit)} state dicts that fit and differ, {', '.join(places)}; save the one that is meant: "
            f"torch.save(torch.load({path.name!r}){places[0]}, 'weights.pth')."
        )


def _dicts(held: Any, where: str = "", depth: int = 2) -> Iterator[tuple[str, dict[Any, Any]]]:
    """Every dict in a file down to ``depth``, with how it is had from it."""
    if isinstance(held, dict):
        yield where, held
        if depth:
            for key, part in held.items():
                yield from _dicts(part, f"{where}[{key!r}]", depth - 1)


def _is_of(held: Mapping[Any, Any], own: Mapping[str, Tensor], extra: set[str]) -> bool:
    return bool(own) and set(held) - extra == set(own) and all(_fits(held[n], own[n]) for n in own)


def _whole(held: dict[Any, Any], own: Mapping[str, Tensor], extra: set[str]) -> dict[Any, Any]:
    """Under the network's own names, with what a file may lack filled in; as it is where it is of another network.

    What a wrapper put before every name goes: ``module.`` of DDP, ``_orig_mod.`` of a compiled model, an attribute of Lightning's.
    """
    first = next((n for n in own if n.rpartition(".")[2] != _COUNTER), "")
    for name in held:
        prefix = name.removesuffix(first) if isinstance(name, str) and name.endswith(first) else None
        if prefix is None or not held.keys() <= {prefix + known for known in (*own, *extra)}:
            continue
        found = {known: held[prefix + known] for known in (*own, *extra) if prefix + known in held}
        for known in own.keys() - found.keys():
            tied = next((n for n in found if n in own and _is_same(own[n], own[known])), None)
            if tied is not None:
                found[known] = found[tied]
            elif known.rpartition(".")[2] == _COUNTER:
                found[known] = torch.zeros_like(own[known])
        return found
    return held


def _is_same(one: Tensor, other: Tensor) -> bool:
    """Whether two names are of one tensor."""
    layout = (one.dtype, one.shape, one.stride()) == (other.dtype, other.shape, other.stride())
    return one.numel() > 0 and layout and one.data_ptr() == other.data_ptr()


def _fits(held: Any, own: Tensor) -> bool:
    """Whether ``held`` can be copied into ``own`` and means the same: float into float, of whatever precision."""
    return (
        isinstance(held, Tensor)
        and held.shape == own.shape
        and held.layout == own.layout
        and not held.is_quantized
        and (held.dtype == own.dtype or (held.is_floating_point() and own.is_floating_point()))
    )
