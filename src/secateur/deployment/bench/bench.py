"""Times networks side by side in the engines that will run them."""

from __future__ import annotations

import math
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from secateur.deployment.bench.advice import advice
from secateur.deployment.bench.facts import facts
from secateur.deployment.bench.formats import FORMATS, EngineName, formats, options, require_engine
from secateur.deployment.bench.machine import crowded, machine, versions
from secateur.deployment.bench.process import Worker
from secateur.deployment.bench.record import Bench, Measure
from secateur.deployment.engines import PROFILED, Precision, check_settings
from secateur.deployment.export import Quantize, describe, export
from secateur.measures import DeadTaskWarning
from secateur.problem import Call, Input, called, check_count, check_takes, is_count
from secateur.shrinking import check_values
from secateur.storage import folder_aside

_BLOCK = 50.0  # milliseconds that a network is timed for in a round, at least one pass
_MOST = 200  # passes in a round
_WARM = 3  # passes before
_PROFILED = 20  # passes whose layers are counted
_NAMED = "give {name: model}, the reference first, such as {'dense': model, 'small': small}."


def bench(
    candidates: Mapping[str, nn.Module],
    example: Input,
    engines: Sequence[EngineName] = ("torch",),
    *,
    against: str | None = None,
    threads: int = 1,
    repeats: int = 20,
    processes: int | None = None,
    precision: Precision = "f32",
    call: Call | None = None,
    quantize: Quantize | None = None,
    keep_float: Sequence[str] = (),
    by_layer: bool = False,
) -> Bench:
    """Times ``candidates`` in ``engines`` on this machine's CPU, against the first of them.

    Each network is exported for the engine, with the shapes of ``example`` and checked as :func:`secateur.deployment.export.export`
    does, and loaded in a process of its own. In every round each network has its turn, only one process works at a
    time, and the order turns from round to round; a speed-up is the median over the rounds of the ratio within one
    round, so what slows the machine for a while slows both sides of it. The same network can be 30 % slower in one
    process than in the next, for as long as that lives (where its memory lies), so the rounds are spread over several
    processes, which keep their heap between passes; the range of a speed-up holds both kinds of noise. Two networks
    whose range includes 1 were not told apart. In the engine ``torch`` the exported operations
    run one by one, with BatchNorm folded, as in the others.

    Args:
        candidates: Name to model; each ``model(x) -> {task: prediction}``, left as it was.
        example: (N, C, ...) or ``{task: (N, C, ...)}``.
        engines: Which to time.
        against: The reference; None takes the first.
        threads: Threads of a forward pass.
        repeats: Rounds.
        processes: How many processes each network gets, one after the other, with a share of the rounds each;
            if None four, or one for each round where there are fewer.
        precision: What OpenVINO computes in (by itself it may choose bfloat16); the others compute in float32.
        quantize: ``int8`` times files in int8, in ``onnxruntime``, ``openvino`` and ``sparse``. Their ranges are those of
            ``example``: no time depends on them, whatever is predicted.
        keep_float: As of :func:`secateur.export`.
        by_layer: Count what each layer takes too, in ``onnxruntime`` and ``openvino``: ``times``.
        call: ``(model, x) -> {task: prediction}`` where ``model(x)`` is not, as in a :class:`secateur.Problem`.

    Raises:
        ValueError: If an argument is unusable, or a network cannot be exported; before anything is timed.
        EngineMissingError: If an engine is not installed; it says what to install.
        RuntimeError: If an engine's process dies.

    Warns:
        UserWarning: If ``threads`` are more than the cores that this process may use.
    """
    reference = _checked(candidates, engines, against, threads, repeats, processes, precision)
    if why := crowded(threads):
        warnings.warn(f"bench: {why}; give that many at most.", stacklevel=2)
    processes = min(4, repeats) if processes is None else processes
    kinds = formats(engines, quantize)
    how = {"call": call, **options(example, quantize, keep_float)}
    for engine in engines:
        require_engine(engine, quantize)
    for model in candidates.values():
        check_values("bench", model)
        check_takes("bench", called(model, call), example)
    counted = {name: facts(called(model, call), example) for name, model in candidates.items()}
    with folder_aside(Path(tempfile.gettempdir()) / "secateur-bench") as folder:
        made = {
            kind: _exported(candidates, example, folder / kind, suffix, how)
            for kind, suffix in dict.fromkeys(kinds.values())
        }
        files = {engine: made[kinds[engine][0]] for engine in engines}
        x = folder / "input.npz"
        np.savez(x, *_arrays(example, next(iter(files[engines[0]].values()))))

        def worker(engine: str, path: Path) -> Worker:
            return Worker(path, x, threads, precision, path.with_suffix(f".{engine}.log"), engine)

        measures = {
            engine: _timed(files[engine], reference, _shares(repeats, processes), partial(worker, engine))
            for engine in engines
        }
        layers = _layers(files.get("sparse", {}), partial(worker, "sparse"))
        counting = [engine for engine in engines if by_layer and engine in PROFILED]
        times = {engine: _by_layer(files[engine], partial(worker, engine)) for engine in counting}
    return Bench(
        against=reference,
        networks=counted,
        measures=measures,
        inputs=[list(t.shape) for t in ([example] if isinstance(example, Tensor) else example.values())],
        settings={
            "threads": threads,
            "repeats": repeats,
            "processes": processes,
            "precision": quantize or precision,
            "heap": "kept between passes",
        },
        machine=machine(),
        versions=versions(),
        layers=layers,
        times=times,
        advice=advice(reference, counted, measures, layers, crowded(threads)),
    )


def _checked(
    candidates: Mapping[str, nn.Module],
    engines: Sequence[str],
    against: str | None,
    threads: int,
    repeats: int,
    processes: int | None,
    precision: str,
) -> str:
    given: Any = candidates
    if not isinstance(given, Mapping):
        raise ValueError(f"bench: candidates is a {type(given).__name__}; {_NAMED}")
    if not candidates:
        raise ValueError(f"bench: candidates is empty; {_NAMED}")
    for name, model in given.items():
        if not isinstance(model, nn.Module):
            raise ValueError(f"bench: candidates[{name!r}] is a {type(model).__name__}, no module; {_NAMED}")
    unknown = [engine for engine in engines if engine not in FORMATS]
    if isinstance(engines, str) or unknown or not engines:
        raise ValueError(f"bench: engines is {engines!r}; choose from {sorted(FORMATS)}, in a list.")
    check_count("bench: repeats", repeats)
    check_settings("bench", threads, precision)
    if processes is not None and (not is_count(processes) or processes > repeats):
        raise ValueError(f"bench: processes is {processes!r}; it must be from 1 to repeats ({repeats}).")
    if against is not None and against not in candidates:
        raise ValueError(f"bench: against is {against!r}; choose from {list(candidates)}.")
    return against or next(iter(candidates))


def _exported(
    candidates: Mapping[str, nn.Module], example: Input, folder: Path, suffix: str, how: Mapping[str, Any]
) -> dict[str, Path]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeadTaskWarning)  # the facts say it, and the advice
        return {
            name: export(model, example, folder / f"{number}{suffix}", dynamic=False, **how)
            for number, (name, model) in enumerate(candidates.items())
        }


def _arrays(example: Input, path: Path) -> list[np.ndarray[Any, Any]]:
    """The inputs in the order that the files take them."""
    owners = [given["task"] for given in describe(path)["inputs"].values()]
    tensors = [example] if isinstance(example, Tensor) else [example[task] for task in owners]
    return [(t.float() if t.is_floating_point() else t).detach().cpu().numpy() for t in tensors]


def _shares(repeats: int, processes: int) -> list[int]:
    """Rounds of each process, as equal as can be."""
    return [repeats // processes + (index < repeats % processes) for index in range(processes)]


def _timed(
    files: Mapping[str, Path], reference: str, shares: Sequence[int], worker: Callable[[Path], Worker]
) -> dict[str, Measure]:
    """Measures of one engine: for each share new processes and as many rounds."""
    names = list(files)
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for share in shares:
        with ExitStack() as running:
            workers = {name: running.enter_context(worker(path)) for name, path in files.items()}
            calls = {name: _calls(workers[name]) for name in names}
            for number in range(share):
                start = number % len(names)
                for name in names[start:] + names[:start]:
                    rounds[name].append(workers[name].time(calls[name]))
    return {name: _measure(rounds[name], rounds[reference], files[name]) for name in names}


def _layers(files: Mapping[str, Path], worker: Callable[[Path], Worker]) -> dict[str, list[dict[str, Any]]]:
    """What the engine ``sparse`` makes of each layer of each network."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name, path in files.items():
        with worker(path) as running:
            found[name] = running.layers
    return found


def _by_layer(files: Mapping[str, Path], worker: Callable[[Path], Worker]) -> dict[str, dict[str, float]]:
    """What each layer of each network takes, in processes of their own: a profiler slows what is timed."""
    found: dict[str, dict[str, float]] = {}
    for name, path in files.items():
        with worker(path) as running:
            found[name] = running.by_layer(_PROFILED)
    return found


def _calls(worker: Worker) -> int:
    """Warms up, and says how many passes fill a block."""
    worker.time(_WARM)
    return max(1, min(_MOST, math.ceil(_BLOCK / min(worker.time(_WARM)["ms"]))))


def _measure(own: list[dict[str, Any]], reference: list[dict[str, Any]], path: Path) -> Measure:
    ms = np.concatenate([block["ms"] for block in own])
    paired = [float(np.median(r["ms"]) / np.median(o["ms"])) for r, o in zip(reference, own, strict=True)]
    p10, p50, p90 = (float(q) for q in np.quantile(ms, (0.1, 0.5, 0.9)))
    low, middle, high = (float(q) for q in np.quantile(paired, (0.1, 0.5, 0.9)))
    waits = [block["disturbed"] for block in own if block["disturbed"] is not None]
    return Measure(
        p10=p10,
        p50=p50,
        p90=p90,
        speedup=middle,
        speedup_low=low,
        speedup_high=high,
        ratio_of_medians=float(np.median(np.concatenate([block["ms"] for block in reference]))) / p50,
        passes=len(ms),
        memory=max((block["memory"] for block in own if block["memory"] is not None), default=None),
        file=sum(file.stat().st_size for file in (path, path.with_suffix(".bin")) if file.exists()),
        disturbed=float(np.mean(waits)) if waits else None,
        settled=all(block["settled"] for block in own),
    )
