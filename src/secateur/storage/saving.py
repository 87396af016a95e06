"""Weights on disk: one safetensors file with a manifest inside, small where the weights are sparse, never any code."""

from __future__ import annotations

import json
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from secateur.problem import unlisted
from secateur.pruning import check_plain
from secateur.shrinking import Compaction, compaction, copied, rebuild, unwrapped
from secateur.storage import nested
from secateur.storage.extra import check_extra, extra_keepers, extra_states, set_extra_states
from secateur.storage.files import behind, write_aside
from secateur.storage.outline import kind, short
from secateur.storage.packing import check_entries, pack, unpack
from secateur.storage.snapshot import check_shapes, named_tensors
from secateur.storage.values import check_shared, finite, restore

FORMAT = 3  # format 1 had no checksums, 2 no nests in extra states; their files are read
_KEY, _SEAL = "secateur", "secateur crc32"


class DamagedError(ValueError):
    """A weight file was cut short or changed.

    Args:
        what: Which, and how it shows.
        remedy: What the reader is to do.
    """

    def __init__(self, what: str, remedy: str = "write it again from the run's checkpoint") -> None:
        super().__init__(f"{what}; {remedy}.")
        self.what = what


def save(model: nn.Module, path: Path | str, about: Mapping[str, Any] | None = None) -> Path:
    """Writes the model's parameters and buffers to ``path``, aside and renamed.

    A tensor with many zeros is stored as one bit per element and its nonzero values, so a network with 10 % of its
    weights left takes about an eighth of the room. Tensors that share storage are stored once.

    Args:
        model: A plain module (``fit`` has returned).
        path: The file, usually ``*.safetensors``; of a link, the file that it leads to.
        about: Plain values kept in the manifest, such as task names.

    Raises:
        ValueError: If the model is still under a parametrization, ``about`` holds what is no plain value, or a tensor is sparse, on the
            meta device or of a dtype that no file has.
        FloatingPointError: If a parameter is NaN or infinite.
        OSError: If the file cannot be written; what was there before is intact.

    Warns:
        UserWarning: If plain dicts or lists in the model hold weights, or ``get_extra_state`` gives what only code could give
            back: no file has them.
    """
    check_plain(model, "save")
    if held := unlisted(model):
        warnings.warn(
            f"save: {', '.join(held)} of the model holds weights that it does not list, so they are not in {path}; layers in a plain dict or "
            "list are such: use nn.ModuleDict or nn.ModuleList.",
            stacklevel=2,
        )
    extra = nested.written(extra_states(model), set(extra_keepers(model)))
    if extra.lost:
        warnings.warn(
            f"save: {', '.join(extra.lost)} of the model is no plain value and no tensor, so it is not in {path}; let get_extra_state return "
            "numbers, text, bytes, tensors, and lists, tuples, sets and dicts of them.",
            stacklevel=2,
        )
    entries, stored = pack(named_tensors(model) | extra.tensors)
    bad = [n for n, p in model.named_parameters() if not bool(finite(p.detach()).all())]
    if bad:
        raise FloatingPointError(
            f"save: {', '.join(bad[:3])}{' and more' if len(bad) > 3 else ''} of the model are NaN or infinite; "
            f"{path} is left as it was. Go back to weights that are not."
        )
    number = FORMAT if extra.nested else FORMAT - 1  # which earlier releases read
    manifest: dict[str, Any] = {"format": number, "about": dict(about or {}), "tensors": entries}
    if (removed := compaction(model)) is not None:
        manifest["compaction"] = removed.to_dict()
    manifest |= {key: told for key, told in (("extra", extra.plain), ("nested", extra.nested)) if told}
    try:
        text = json.dumps(manifest)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"save: about must hold plain values such as numbers, text and lists ({error}); {path} is left as it was."
        ) from error
    metadata = {_KEY: text, _SEAL: _sealed(text)}

    def write(aside: Path) -> None:
        save_file(stored, aside, metadata=metadata)
        _order(aside)

    write_aside(behind(Path(path)), write)
    return Path(path)


def load(model: nn.Module, path: Path | str) -> nn.Module:
    """Reads weights written by :func:`save` into ``model``, in place, and returns it.

    Where the file is of a compacted network, a freshly built ``model`` of the user's class is first cut to its shapes.
    Names, shapes, dtypes and checksums are checked before anything is changed.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged, not ours, or of another model; the model is unchanged.
    """
    path, outer = Path(path), model
    while isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):  # of torch.compile
        model = inner
    if not path.is_file():
        raise FileNotFoundError(f"No weights at {path}; train first, or check the path.")
    found, stored = _read(path, tensors=True)
    try:
        values = unpack(found["tensors"], stored, sealed=found["format"] > 1)
        values = {unwrapped(name): value for name, value in values.items()}  # of an older file
        made = Compaction.from_dict(found["compaction"]) if "compaction" in found else None
        for layer, settings in made.constants.items() if made else ():
            if settings and values[f"{layer}.value"].shape != (settings["channels"],):
                raise ValueError(f"the constant in the place of {layer} has another size than its record")
        extra = nested.read(found, values)
    except (KeyError, ValueError) as error:
        raise _damaged(path, error) from error
    kinds = {name: kind(value) for name, value in values.items()}
    mine, target = compaction(model), model
    if made is not None and mine is None:
        try:
            target = rebuild(copied(model), made)
        except ValueError as error:
            raise ValueError(
                f"{path} is of another model: {short(error)}; build the class and settings it was saved from."
            ) from error
    elif mine is not None and (made is None or not mine.same_cut(made)):
        raise ValueError(
            f"{path} is of a network from which other channels were removed than from this one; build the model anew."
        )
    check_shapes(str(path), kinds, named_tensors(target))
    check_shared(str(path), named_tensors(target), values)
    check_extra(str(path), extra, target)
    set_extra_states(target, extra, str(path))
    if made is not None and target is not model:
        set_extra_states(rebuild(model, made), extra, str(path))
    restore(named_tensors(model), values)
    return outer


def manifest(path: Path | str) -> dict[str, Any]:
    """The manifest of a file: format, shapes and dtypes of all tensors, and what was said ``about`` the model.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged or not ours.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"No weights at {path}; train first, or check the path.")
    return _read(Path(path), tensors=False)[0]


def _read(path: Path, *, tensors: bool) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The manifest, and where asked what is stored."""
    metadata, stored = _opened(path, tensors)
    if _KEY not in metadata:
        raise ValueError(
            f"{path} holds no manifest of ours; only files written by secateur.save can be loaded here."
        )
    try:
        found = json.loads(metadata[_KEY])
    except (ValueError, RecursionError) as error:
        raise _damaged(path, error) from error
    if not isinstance(found, dict) or not isinstance(cast(Any, found).get("tensors"), dict):
        raise _damaged(path, "its manifest lists no tensors")
    held = cast(dict[str, Any], found)
    if not isinstance(held.get("about"), dict):
        raise _damaged(path, "its manifest says nothing about the model")
    if not all(isinstance(held.get(key, {}), dict) for key in ("extra", "nested")):
        raise _damaged(path, "its manifest has no extra states, and says so")
    number, seal = held.get("format"), metadata.get(_SEAL)
    if type(number) is int and number > FORMAT:
        raise ValueError(
            f"{path} is of format {number}, this release reads formats up to {FORMAT}; use the release that wrote it."
        )
    if (
        type(number) is not int
        or number < 1
        or (seal != _sealed(metadata[_KEY]) if number > 1 else seal is not None)
    ):
        raise _damaged(path, "the checksum of its manifest is another")
    try:
        check_entries(held["tensors"])
    except ValueError as error:
        raise _damaged(path, error) from error
    return held, stored


def is_ours(path: Path) -> bool:
    """Whether :func:`save` wrote a file, which holds more than tensors then; raises ValueError if it is damaged or no safetensors file."""
    return _KEY in _opened(path, tensors=False)[0]


def _opened(path: Path, tensors: bool) -> tuple[dict[str, str], dict[str, Tensor]]:
    """The metadata of a safetensors file, and where asked its tensors."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = cast("dict[str, str] | None", file.metadata())
            names = list(file.keys()) if tensors else []
            return metadata or {}, {name: file.get_tensor(name) for name in names}
    except (
        SafetensorError,
        OSError,
        RuntimeError,
        ValueError,
        TypeError,
        OverflowError,
        LookupError,
    ) as error:
        raise DamagedError(f"{path} is truncated or no safetensors file ({short(error)})") from error


def _order(path: Path) -> None:
    """Puts the metadata in order, which safetensors writes in that of chance: so the same weights are the same bytes."""
    with path.open("rb+") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(
            {"__metadata__": header.pop("__metadata__"), **header}, separators=(",", ":"), ensure_ascii=False
        )
        held = text.encode("utf-8", "surrogatepass").ljust(size)
        if len(held) == size:  # otherwise it is spelt in another way there, and stays
            file.seek(8)
            file.write(held)


def _sealed(text: str) -> str:
    return f"{zlib.crc32(text.encode('utf-8', 'surrogatepass')):08x}"


def _damaged(path: Path, reason: object) -> DamagedError:
    return DamagedError(f"{path} is damaged: {short(reason)}")
