"""``pack``: an ONNX file, of whatever origin, with its zeros taken out of the file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secateur.deployment.engines import KEY, UnreadableError, check_seal, is_sealed, need, quiet, seal, unseal
from secateur.deployment.sparse.check import check_loads, check_rebuilt
from secateur.deployment.sparse.rewrite import OPSET, Rebuilt, Weights, exact, graphs, rebuilt, rewrite
from secateur.storage import folder_aside, put, short

_LARGEST = 1 << 30  # bytes of weights inside the file; one of protobuf ends at 2 GiB


@dataclass(frozen=True)
class Packed:
    """What :func:`pack` wrote.

    Args:
        path: The file.
        before: Bytes of the file it was made from, external weights included.
        after: Bytes now.
        weights: What is stored as gaps and values.
    """

    path: Path
    before: int
    after: int
    weights: tuple[Rebuilt, ...]


def pack(path: Path | str, out: Path | str | None = None, *, weights: Weights = "sparse") -> Packed:
    """Stores the sparse weights of an ONNX file as gaps and values, in ordinary operators that every engine reads.

    ONNX Runtime and OpenVINO rebuild the weights when they load the file, the same bit by bit (but for the sign of zeros);
    ONNX Runtime does so here, and each is compared. The metadata of a file that :func:`secateur.export` wrote say it: ``weights``. At 90 % zeros float32 weights take 12.5 % of their room, with ``sparse_float16`` 7.5 %.
    While it loads, an engine holds weights and what they are rebuilt from; with its graph optimisations switched off it
    rebuilds them in every pass.

    Args:
        path: The file; weights may lie in files beside it.
        out: Where to write; None takes the name with ``.sparse`` before its suffix. May be ``path`` itself, which stays as it is once
            it is packed; of a link, the file that it leads to is written.
        weights: ``sparse`` keeps every value as it is; ``sparse_float16`` rounds them to float16, which is not exact; weights with a
            value beyond what that holds, or with none but the smallest, stay as they are.

    Raises:
        FileNotFoundError: If there is no such file.
        EngineMissingError: If onnx or onnxruntime is not installed; it says what to install.
        ValueError: If the file is no ONNX, is of an opset before 11, lacks weights, is packed already and ``out`` another, or would not
            become smaller, or an argument is unusable; nothing is written.
        OSError: If ``out`` cannot be written.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"pack: no file at {path}; check the path.")
    if path.suffix != ".onnx":
        raise ValueError(
            f"pack: {path} does not end in .onnx, and gaps and values are for ONNX files; give one, such as `secateur export` writes."
        )
    out = path.with_name(f"{path.stem}.sparse{path.suffix}") if out is None else Path(out)
    if weights not in ("sparse", "sparse_float16"):
        raise ValueError(f"pack: weights is {weights!r}; give 'sparse' or 'sparse_float16'.")
    if out.suffix != ".onnx" or out.is_dir():
        raise ValueError(f"pack: out is {str(out)!r}; give a file that ends in .onnx.")
    need("onnx", "onnx", "onnx_ir", "onnxruntime")
    model, sealed = _read(path)
    before = sum(file.stat().st_size for file in {path, *_beside(model)})
    beside = {file.resolve() for file in _beside(model)}
    there = rebuilt(model)
    if weights == "sparse_float16" and (left := exact(model)):
        raise ValueError(
            f"pack: {path} is packed already, with the values of {', '.join(left[:3])}{' and more' if len(left) > 3 else ''} as they are, "
            "which are not rounded any more; pack the file as it was before, or leave sparse_float16 out."
        )
    found = rewrite(model, weights)
    if not found and there:
        if not (out.exists() and out.samefile(path)):
            raise ValueError(
                f"pack: {path} is packed already: {len(there)} of its weights are stored as gaps and values, and no other takes less room "
                "so; use it as it is."
            )
        with folder_aside(out):  # done already, by a call that may have been killed: what it left goes
            return Packed(out, before, before, tuple(there))
    if not found:
        given = {value.name for value in model.graph.inputs}
        if both := [name for name in model.graph.initializers if name in given]:
            raise ValueError(
                f"pack: {path} lists its weights ({', '.join(both[:3])}) as inputs too, so that a caller may replace them, and those stay "
                "as they are; take them out of the graph's inputs first, or export with keep_initializers_as_inputs=False."
            )
        raise ValueError(
            f"pack: {path} has no weight that takes less room as gaps and values (float32 gains from 20 % zeros on); prune the "
            "network first, or leave the file as it is."
        )
    if sealed and KEY in model.metadata_props:
        model.metadata_props[KEY] = _told(model.metadata_props[KEY], weights)
    with folder_aside(out) as folder:
        written = folder / out.name
        with quiet():
            _write(model, written, {file.name for file in beside if file.parent == out.parent.resolve()})
        check_rebuilt(_read(path)[0], written)
        check_loads(path, written)
        if sealed:
            seal(written)
        after = sum(file.stat().st_size for file in folder.iterdir())
        for file in sorted(folder.iterdir(), key=lambda file: file == written):  # the file itself last
            put(file, out.with_name(file.name))
    return Packed(out, before, after, tuple(found))


def _read(path: Path) -> tuple[Any, bool]:
    """The model, and whether it carried the checksum of ``export``.

    Raises:
        ValueError: If it is no ONNX file, or one that cannot be packed.
    """
    (ir, passes) = need("onnx", "onnx_ir", "onnx_ir.passes.common")
    sealed = is_sealed(path)
    if sealed:
        check_seal(path)
    try:
        with quiet():
            model = ir.load(path)
            _check_beside(model, path.parent)
            passes.LiftConstantsToInitializersPass(lift_all_constants=False)(model)
    except Exception as error:  # protobuf and onnx_ir raise of every kind
        raise UnreadableError(
            f"pack: {path} is no ONNX file that can be read ({short(_first(error))}); export it again."
        ) from error
    _check_defined(model, path)
    if not model.graph.outputs:
        raise UnreadableError(f"pack: {path} is no ONNX file, or one without outputs; export it again.")
    opset = model.opset_imports.get("", model.opset_imports.get("ai.onnx", 1))
    if opset < OPSET:
        raise ValueError(
            f"pack: {path} is of opset {opset}, and gaps need operators of {OPSET}; convert it first: "
            "onnx.version_converter.convert_version(onnx.load(path), 17)."
        )
    unseal(model.metadata_props)
    return model, sealed


def _told(text: str, weights: Weights) -> str:
    """Metadata of a file of ours that say how its weights are stored now; what was rounded before stays rounded."""
    about: dict[str, Any] = json.loads(text)
    rounded = "sparse_float16" in (weights, about.get("weights"))
    return json.dumps(about | {"weights": "sparse_float16" if rounded else weights})


def _tensors(model: Any) -> Iterator[Any]:
    for graph in graphs(model):
        yield from (v.const_value for v in graph.initializers.values() if v.const_value is not None)


def _beside(model: Any) -> set[Path]:
    """The files that hold weights outside the model's own."""
    return {Path(tensor.path) for tensor in _tensors(model) if hasattr(tensor, "location")}


def _check_beside(model: Any, folder: Path) -> None:
    """Raises ValueError if a weight lies elsewhere than in or below ``folder``, as a file may not make us read any other, or is not there."""
    for path in _beside(model):
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"it keeps weights in {path}, outside its folder")
        if not path.is_file():
            raise ValueError(f"it keeps weights in {path}, which is missing")
    for tensor in _tensors(model):
        if hasattr(tensor, "location"):
            ends, there = (tensor.offset or 0) + tensor.nbytes, Path(tensor.path).stat().st_size
            if ends > there:
                raise ValueError(f"{tensor.path} has {there} bytes, and {tensor.name} ends at {ends}")


def _check_defined(model: Any, path: Path) -> None:
    """Raises ValueError if something reads a value that nothing gives, as where onnx_ir leaves out a ``sparse_initializer``."""
    for node in model.graph.all_nodes():
        for value in node.inputs:
            if value is not None and not (
                value.producer() or value.is_graph_input() or value.is_initializer()
            ):
                raise UnreadableError(
                    f"pack: {path} has no weight {value.name!r} that can be read: it is a sparse_initializer, or missing; write it dense "
                    "(numpy_helper.from_array) first."
                )


def _first(error: BaseException) -> BaseException:
    """What an error began with."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _write(model: Any, path: Path, taken: set[str]) -> None:
    """One file, or one and its weights beside it where a file of protobuf would be too large.

    Those are not called as any of ``taken``, the weights of the file that may be replaced: until it is, it needs them.
    """
    (ir,) = need("onnx", "onnx_ir")
    if sum(tensor.nbytes for tensor in _tensors(model)) > _LARGEST:
        free = (name for name in (f"{path.name}.data", f"{path.name}.packed.data") if name not in taken)
        ir.save(model, path, external_data=next(free))
    else:
        ir.external_data.load_to_model(model)
        ir.save(model, path)
