"""An exported network that runs: arrays in, arrays by task out. Imports no engine and not torch."""

from __future__ import annotations

import importlib
import json
import warnings
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from secateur.deployment.engines.foreign import ForeignError, check_foreign
from secateur.deployment.engines.kept_logging import kept_logging, silent
from secateur.deployment.engines.seal import check_seal
from secateur.deployment.engines.unobserved import unobserved

Array = NDArray[Any]
Precision = Literal["f32", "bf16", "f16"]
_GIVE = "give a NumPy array, such as tensor.detach().cpu().numpy()."
KEY = "secateur"  # what the metadata are called inside every file
_MODULES = {".pt2": "torch", ".onnx": "onnxruntime", ".xml": "openvino", ".pte": "executorch"}
_ALSO = {".onnx": ("sparse", "openvino")}  # other engines that run the format
_INSTALL = {"sparse": "pip install ./runtime (secateur-runtime, a folder of secateur's repository)"}


class EngineMissingError(ImportError):
    """The packages of an engine are not installed."""


class UnreadableError(ValueError):
    """An exported file that is damaged, or none; says which."""


@dataclass(frozen=True)
class Engine:
    """A loaded network. Several threads may call it; in OpenVINO and ExecuTorch their passes are one after the other.

    Args:
        name: Which engine runs it.
        version: Of the engine.
        about: The metadata that :func:`secateur.deployment.export.export` wrote into the file.
        call: Inputs in the order of ``about["inputs"]`` to predictions in the order of ``about["tasks"]``.
        layers: What it makes of each layer, by name: who runs it, and why not the sparse kernels; only ``sparse`` says.
    """

    name: str
    version: str
    about: Mapping[str, Any]
    call: Callable[[list[Array]], list[Array]]
    layers: tuple[Mapping[str, Any], ...] = ()

    def __call__(self, x: ArrayLike | Mapping[str, ArrayLike]) -> dict[str, Array]:
        """One forward pass.

        Args:
            x: (N, C, ...) as the model takes it, or ``{task: array}`` when each task has its own input; float64 is taken as float32,
                in which files of ``export`` compute.

        Raises:
            ValueError: If a task's input is missing, or one is no array of numbers.
        """
        return dict(zip(self.about["tasks"], self.call(self.listed(x)), strict=True))

    def listed(self, x: ArrayLike | Mapping[str, ArrayLike]) -> list[Array]:
        """``x`` as the list that ``call`` takes."""
        owners = [given["task"] for given in self.about["inputs"].values()]
        if not isinstance(x, Mapping):
            if owners != [None]:
                raise ValueError(f"x is one array; this network takes {{task: array}} with {owners}.")
            return [self._taken(x)]
        missing = [task for task in owners if task not in x]
        if missing:
            raise ValueError(
                f"x has {sorted(x)}; this network takes {owners if owners != [None] else 'one array'}."
            )
        return [self._taken(x[task]) for task in owners]

    def _taken(self, x: ArrayLike) -> Array:
        try:
            given = np.asarray(x)
        except (
            RuntimeError,
            TypeError,
            ValueError,
        ) as error:  # rows of several lengths, tensors with a gradient
            raise ValueError(f"x cannot be taken as an array ({error}); {_GIVE}") from error
        ours = "version" in self.about
        if ours and given.dtype.kind in "OSUMm":
            raise ValueError(f"x is a {type(x).__name__} of {given.dtype}, no numbers; {_GIVE}")
        return np.ascontiguousarray(given, np.float32 if ours and given.dtype == np.float64 else None)


def load_engine(
    path: Path | str,
    threads: int | None = None,
    precision: Precision = "f32",
    engine: str | None = None,
    outputs: Mapping[str, str] | None = None,
) -> Engine:
    """Loads a file that :func:`secateur.deployment.export.export` wrote, in the engine that its suffix asks for.

    Args:
        path: ``.pt2`` (torch), ``.onnx`` (ONNX Runtime), ``.xml`` (OpenVINO) or ``.pte`` (ExecuTorch).
        threads: Threads of one forward pass; None leaves it to the engine. In torch and ExecuTorch the
            number holds for the whole process.
        precision: What OpenVINO computes in; the others compute in float32.
        engine: ``sparse`` runs an ``.onnx`` file by secateur-runtime, which skips zeros, ``openvino`` by OpenVINO; None takes
            that of the suffix.
        outputs: Of an ``.onnx`` or ``.xml`` that ``export`` did not write: task to the name of the output that is its prediction.

    Raises:
        FileNotFoundError: If there is no such file.
        EngineMissingError: If the engine is not installed; the message says what to install.
        ValueError: If the suffix is of no engine, the file is not as ``export`` wrote it, ``threads`` is no number of threads, or
            there is no such precision.
    """
    path = Path(path)
    check_settings("load_engine", threads, precision)
    if path.suffix not in _MODULES:
        raise ValueError(f"load_engine: {path.name} ends in none of {sorted(_MODULES)}.")
    if not path.is_file():
        raise FileNotFoundError(f"No file at {path}; export the model first, or check the path.")
    if outputs is None:
        check_seal(path)
    else:
        check_foreign(path, outputs)
    name = engine or _MODULES[path.suffix]
    known = (_MODULES[path.suffix], *_ALSO.get(path.suffix, ()))
    if name not in known:
        raise ValueError(f"load_engine: {name!r} does not run {path.name}; it is one of {list(known)}.")
    module = importlib.import_module(f"secateur.deployment.engines.run_{name}")
    try:
        made: Engine = module.load(path, threads, precision, *(() if outputs is None else (outputs,)))
    except (EngineMissingError, UnreadableError, ForeignError):
        raise
    except Exception as error:  # every engine raises its own kinds
        said = " ".join(str(error).split())
        raise UnreadableError(
            f"{path} cannot be loaded by {name} ({type(error).__name__}: {said:.200}); export it again."
        ) from error
    unlike = made.about.get("otherwise")
    if isinstance(unlike, Mapping) and name in unlike:
        raise UnreadableError(
            f"{path} predicts something else in {name} ({cast(Any, unlike)[name]!s:.200}); run it in {_MODULES[path.suffix]}, or "
            "export the network to .xml."
        )
    return made


def check_settings(verb: str, threads: int | None, precision: str) -> None:
    """Raises ValueError for settings that some engines pass over and others take for something else."""
    if threads is not None and (
        isinstance(threads, bool) or not hasattr(threads, "__index__") or threads < 1
    ):
        raise ValueError(f"{verb}: threads is {threads!r}; give a whole number of at least 1.")
    if precision not in get_args(Precision):
        raise ValueError(f"{verb}: precision is {precision!r}; give one of {', '.join(get_args(Precision))}.")


def need(extra: str, *modules: str) -> list[Any]:
    """Imports the modules of an engine.

    Raises:
        EngineMissingError: If one of them is not installed; it says what to install.
    """
    found: list[Any] = []
    for module in modules:
        try:
            # of ExecuTorch's torchao torch logs a deprecation
            with quiet(), unobserved(), kept_logging(), silent("torch.utils._pytree"):
                found.append(importlib.import_module(module))
        except ImportError as error:
            raise EngineMissingError(
                f"{module.split('.')[0]} is not installed or does not load ({error}): "
                + _INSTALL.get(extra, f"pip install 'secateur[{extra}]'"),
                name=module,
            ) from error
    return found


@contextmanager
def quiet() -> Generator[None, None, None]:
    """Third-party code that speaks of its own deprecations is not heard; every other warning is."""
    with warnings.catch_warnings():
        for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", category)
        warnings.filterwarnings(
            "ignore", "The given buffer is not writable", UserWarning
        )  # torch < 2.12 loading .pt2
        yield


def parsed(path: Path, text: str | None) -> dict[str, Any]:
    """The metadata of a file, checked.

    Raises:
        UnreadableError: If it has none, or they do not describe a network.
    """
    if not text:
        raise UnreadableError(f"{path} carries no metadata of secateur; write it with secateur.export.")
    try:
        about = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(
            f"{path} has metadata that are no JSON ({error!s:.200}); export it again."
        ) from error
    if not _describes(about):
        raise UnreadableError(f"{path} has metadata that describe no network; export it again.")
    return about


def check_ends(path: Path, about: Mapping[str, Any], inputs: Iterable[str], outputs: Iterable[str]) -> None:
    """Raises UnreadableError if the network has other inputs or outputs than are described."""
    if set(inputs) != set(about["inputs"]) or not set(about["tasks"]) <= set(outputs):
        raise UnreadableError(f"{path} has other inputs or outputs than its metadata say; export it again.")


def _describes(about: Any) -> bool:
    """Whether these are tasks and inputs as ``export`` writes them."""
    if not isinstance(about, dict):
        return False
    tasks, inputs = cast(Any, about.get("tasks")), cast(Any, about.get("inputs"))
    if not (isinstance(tasks, dict) and tasks and isinstance(inputs, dict) and inputs):
        return False
    return all(isinstance(value, dict) for value in tasks.values()) and all(
        isinstance(given, dict)
        and isinstance(given.get("task", 0), (str, type(None)))
        and all(_sizes(given.get(name)) for name in ("shape", "example"))
        and all(type(size) is int for size in given["example"])
        for given in inputs.values()
    )


def _sizes(value: Any) -> bool:
    """Whether it is a shape: whole numbers, and names of what varies."""
    return isinstance(value, list) and all(
        isinstance(size, str) or (type(size) is int and size >= 0) for size in cast(list[Any], value)
    )
