"""From a finished run to a smaller network, a file for an engine, and its speed."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from secateur.deployment.bench import Bench, EngineName, bench
from secateur.deployment.export import Format, Quantize, describe, export
from secateur.deployment.sparse import Weights
from secateur.measures import count_macs, layer_rows
from secateur.problem import Input, Problem, components, one, preserved_rng, sample_shape, to_device
from secateur.runs.config import parse_size
from secateur.runs.folder import RunFolder
from secateur.runs.hardware import torch_device
from secateur.runs.kept import keep_bench, keep_export, load_weights, mark, weights_about
from secateur.runs.names import Trust
from secateur.runs.run import read_problem
from secateur.shrinking import Compaction, compact, compaction
from secateur.storage import save, write_text

_SUFFIX: dict[Format, str] = {"onnx": ".onnx", "openvino": ".xml", "executorch": ".pte", "pt2": ".pt2"}


@preserved_rng()
def compact_run(
    path: Path, *, round_to: int = 1, trust: Trust | None = None, device: str = "cpu"
) -> tuple[Path, Compaction, dict[str, Any]]:
    """Writes ``compact.safetensors`` beside a run's weights, and ``compact.json`` that says what went.

    Returns:
        The file, the record, and parameters and multiply-accumulates before and after.

    Raises:
        FileNotFoundError: If the run has no weights yet.
        ValueError: If the network cannot be compacted, or is neither ours nor trusted; the message says why.
    """
    folder, place = RunFolder(path), torch_device(device)
    folder.inside(folder.compact)
    if path.is_dir() and not os.access(path, os.W_OK | os.X_OK):
        raise PermissionError(
            f"compact writes into the run folder, and {path} may not be written to; copy it to where it may, and compact the copy."
        )
    problem, example = _problem(path, trust, folder.weights)
    model, example = problem.model.to(place), to_device(example, place)
    small = compact(model, example, round_to=round_to)
    made = compaction(small)
    assert made is not None
    sizes = {
        name: {
            "params": sum(p.numel() for p in net.parameters()),
            "macs": sum(count_macs(net, example).values()),
        }
        for name, net in (("before", model), ("after", small))
    }
    named = components(problem)
    layers = {name: layer_rows(net, example, named) for name, net in (("before", model), ("after", small))}
    written = save(small.cpu(), folder.compact, weights_about(folder.weights))
    shape = list(example.shape) if isinstance(example, Tensor) else sample_shape(example)
    record = {"round_to": round_to, **sizes, "input": shape, "compaction": made.to_dict(), "layers": layers}
    write_text(folder.compaction, json.dumps(record, indent=1))
    return written, made, sizes


@preserved_rng()
def export_run(
    path: Path,
    format: Format = "onnx",  # noqa: A002 (what it is)
    *,
    tasks: Sequence[str] | None = None,
    out: Path | None = None,
    weights: Weights = "sparse",
    quantize: Quantize | None = None,
    keep_float: Sequence[str] | None = None,
    dynamic: bool = True,
    trust: Trust | None = None,
) -> Path:
    """Exports a run's network, the compacted one where there is one, with its tasks and normalisation inside the file.

    With ``quantize`` the file is in int8, calibrated on the run's training batches: ``model-int8.onnx``, or ``.xml``; what ``keep_float`` names
    stays in float, and of a network that was pruned for int8, if it is None, the heads that the pruning found to need it.
    With ``dynamic`` False batch and size are fixed to those of one picture of the test split, as where :func:`bench_runs` times it.

    Raises:
        FileNotFoundError: If the run has no weights yet.
        ValueError: If it cannot be exported, is neither ours nor trusted, or the engine predicts something else; no file is
            left then.
        ImportError: If the engine is not installed; it says what to install.
    """
    folder = RunFolder(path)
    if twice := [task for task in tasks or () if list(tasks or ()).count(task) > 1]:
        raise ValueError(f"export: tasks={','.join(tasks or ())} names {twice[0]} twice; once is enough.")
    problem, example = _smallest_problem(path, trust)
    name = "-".join(["model", *(tasks or ()), *([quantize] if quantize else ())])
    about = {key: value for key, value in weights_about(folder.weights).items() if key != "tasks"}
    file = out or path / f"{name}{_SUFFIX[format]}"
    for part in () if out else (file, file.with_suffix(".bin"), file.with_name(f"{file.name}.data")):
        folder.inside(part)
    made = export(
        problem.model,
        example,
        file,
        format,
        tasks=tasks,
        about=about,
        dynamic=dynamic,
        weights=weights,
        quantize=quantize,
        calibrate=problem if quantize else None,
        keep_float=_kept(folder, tasks) if quantize and keep_float is None else keep_float or (),
    )
    parts = (
        (made, made.with_suffix(".bin")) if made.suffix == ".xml" else (made,)
    )  # another format's file may lie beside
    size = sum(part.stat().st_size for part in parts)
    facts: dict[str, Any] = {"format": format, "tasks": list(tasks or ()), "bytes": size, "weights": weights}
    facts["of"] = mark(path)
    about = describe(made)
    if quantize:
        facts |= {"errors": about["quantized"]["errors"], "float": about["quantized"]["float"]}
    if about.get("dead"):
        facts["dead"] = about["dead"]
    try:
        keep_export(folder, made, facts)
    except OSError as error:
        if out is None:
            raise
        warnings.warn(f"the run's report will not name the file: {error}", stacklevel=3)
    return made


def _kept(folder: RunFolder, tasks: Sequence[str] | None) -> list[str]:
    """The heads that ``secateur prune --quantize`` left in float."""
    path = folder.path / "budget.json"
    if not path.is_file():
        return []
    try:
        said: Any = json.loads(path.read_text(encoding="utf-8"))
        kept = [str(task) for task in said.get("keep_float", [])]
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} cannot be understood ({error}); say what stays in float: --keep-float."
        ) from error
    return [task for task in kept if tasks is None or task in tasks]


@preserved_rng()
def bench_runs(
    paths: Sequence[Path],
    engines: Sequence[EngineName],
    *,
    against: Path | None = None,
    size: str | None = None,
    threads: int = 1,
    repeats: int = 20,
    trust: Trust | None = None,
) -> Bench:
    """Times the networks of runs, the compacted ones where there are, against a reference.

    Args:
        paths: Run folders.
        engines: Which to time in.
        against: Run folder of the reference; the first of ``paths`` if None. It is timed as it was before compaction.
        size: ``HEIGHTxWIDTH`` of the input; that of the data if None.
        threads: Threads of a forward pass.
        repeats: Rounds.
        trust: Whose parts may be imported; ours alone if None.

    The figures are written beside each run too, for its report. Earlier ones of the same network stay, but where the same engine was timed
    again with the same input, threads and reference; those of another network, as before ``compact``, go.
    """
    first = against or paths[0]
    reference, example = _trained(first, trust)
    shape = parse_size(size)
    if shape is not None:
        example = _resized(example, shape, first)
    every = [*paths] if against is None or against in paths else [against, *paths]
    short = {path: (path if path.name.strip(".") else path.resolve()).name for path in every}  # "." has none
    names = short if len(set(short.values())) == len(short) else {path: str(path) for path in every}
    same = first in paths and not RunFolder(first).compact.exists()  # it is timed once
    reference_name = names[first] if same or first not in paths else f"{names[first]} (before compact)"
    candidates: dict[str, nn.Module] = {reference_name: reference}
    for path in paths if not same else [path for path in paths if path != first]:
        candidates[names[path]] = _smallest(path, trust)[0]
    made = bench(candidates, example, engines, threads=threads, repeats=repeats, by_layer=True)
    for path in paths:
        try:
            keep_bench(RunFolder(path), names[path], made, mark(path))
        except OSError as error:  # the figures were worth the time all the same
            warnings.warn(f"bench: {error}", stacklevel=3)
    return made


def _resized(x: Input, shape: tuple[int, int], run: Path) -> Input:
    images = [x] if isinstance(x, Tensor) else list(x.values())
    if any(image.dim() != 4 for image in images):
        raise ValueError(f"bench: a size is given, but the input of {run} is no image; leave it out.")
    made = [image.new_zeros(1, image.shape[1], *shape).normal_() for image in images]
    return made[0] if isinstance(x, Tensor) else dict(zip(x, made, strict=True))


def _trained(path: Path, trust: Trust | None) -> tuple[nn.Module, Input]:
    problem, example = _problem(path, trust, RunFolder(path).weights)
    return problem.model, example


def _smallest(path: Path, trust: Trust | None) -> tuple[nn.Module, Input]:
    """The compacted network of a run, or where there is none yet, the trained one."""
    problem, example = _smallest_problem(path, trust)
    return problem.model, example


def _smallest_problem(path: Path, trust: Trust | None) -> tuple[Problem, Input]:
    folder = RunFolder(path)
    return _problem(path, trust, folder.compact if folder.compact.exists() else folder.weights)


def _problem(path: Path, trust: Trust | None, weights: Path) -> tuple[Problem, Input]:
    problem, data = read_problem(RunFolder(path), trust)
    load_weights(problem.model, weights)
    problem.model.eval()
    x, _ = next(iter(data.test))
    return problem, one(x)
