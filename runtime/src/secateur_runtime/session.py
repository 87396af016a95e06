"""Sessions of ONNX Runtime with the provider in front."""

import difflib
import itertools
import os
import warnings
from collections.abc import Mapping

import onnxruntime

from secateur_runtime.library import PROVIDER, Unsupported, functions, register

# Options of the provider: what each may be, and what it does.
OPTIONS = {
    "force": (("0", "1"), "claim whatever can be claimed, faster or not"),
    "chain": (
        ("0", "1", "2"),
        "1x1 layers go on with the tiles of the layer before: 0 where it pays, 1 nowhere, 2 wherever they can",
    ),
    "share": (("0", "1", "2", "4"), "outputs whose zeros are taken together; 0 chooses by the weights"),
    "order": (
        ("0", "1"),
        "outputs that share their zeros are brought together: 0 where it stores clearly fewer weights, 1 nowhere",
    ),
    "isa": (("", "avx512", "avx2", "neon", "portable"), "instructions to use at most"),
}
PREFIX = f"ep.{PROVIDER.lower()}."
_labels = itertools.count(1)


def session(
    model: str | os.PathLike[str] | bytes | bytearray | memoryview,
    *,
    threads: int | None = None,
    options: Mapping[str, object] | None = None,
    session_options: onnxruntime.SessionOptions | None = None,
    strict: bool = False,
) -> onnxruntime.InferenceSession:
    """Open a model, the layers with zeros by our kernels, everything else by ONNX Runtime's own.

    Args:
        model: path of an ONNX file, or its bytes.
        threads: threads of the session; ONNX Runtime's default where it is not given.
        options: of the provider, see `OPTIONS`.
        session_options: of ONNX Runtime, its own where they are not given. The provider is added to them for good, so that each session
            needs its own, and so does each try after one that failed.
        strict: raise `Unsupported` where this machine or onnxruntime cannot run the provider, instead of a warning and a
            session without it.

    Raises:
        ValueError: an option that there is none of, or a value that it cannot have, or threads that are no whole number above 0, or
            session_options that another session was opened with, or was not.
        TypeError: `model`, options or session_options are of a kind that says nothing.
        FileNotFoundError: there is no file at `model`.

    """
    given = checked({} if options is None else options)
    made = onnxruntime.SessionOptions() if session_options is None else session_options
    if not isinstance(made, onnxruntime.SessionOptions):
        raise TypeError(
            f"session_options is a {type(made).__name__}; give onnxruntime.SessionOptions(), or None"
        )
    if label(made) is not None:
        raise ValueError(
            "session_options are those of another session already, or of a model that failed to open; make new ones for each try"
        )
    if threads is not None:
        if isinstance(threads, bool) or not hasattr(threads, "__index__") or threads < 1:
            raise ValueError(f"threads is {threads!r}; a session needs 1 or more, a whole number")
        made.intra_op_num_threads = threads
    source = _source(model)
    if not isinstance(source, bytes) and not os.path.isfile(source):  # noqa: PTH113
        raise FileNotFoundError(
            f"model is {source!r}, and there is no such file; give the path of an ONNX file, or its bytes"
        )
    try:
        register()
    except Unsupported as reason:
        if strict:
            raise
        warnings.warn(
            f"{reason}. The model runs without secateur-runtime, at ONNX Runtime's own speed.", stacklevel=2
        )
        return onnxruntime.InferenceSession(source, made, providers=["CPUExecutionProvider"])
    if session_options is None:
        made.log_severity_level = 3  # it warns of every session in which two providers share the work
    given["label"] = f"{os.getpid()}-{next(_labels)}"
    given["threads"] = str(min(made.intra_op_num_threads, 1024))
    if not functions().secateur_has(given.get("isa", "").encode()):
        raise ValueError(f"isa is {given['isa']!r}, instructions that this processor has not")
    devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == PROVIDER]
    made.add_provider_for_devices(devices[:1], given)
    return onnxruntime.InferenceSession(source, made)


def _source(model: object) -> str | bytes:
    """Return the path or the bytes as ONNX Runtime takes them. Raises TypeError for anything else."""
    if isinstance(model, bytes | bytearray | memoryview):
        return bytes(model)
    if isinstance(model, str | os.PathLike):
        return os.fsdecode(model)
    serialize = " (model.SerializeToString())" if hasattr(model, "SerializeToString") else ""
    raise TypeError(
        f"model is a {type(model).__name__}; give the path of an ONNX file, or its bytes{serialize}"
    )


def label(options: onnxruntime.SessionOptions) -> str | None:
    """Return the name by which the provider knows a session; None where it was never added to these options."""
    try:
        return options.get_session_config_entry(f"{PREFIX}label")
    except Exception:  # onnxruntime raises a bare RuntimeError of its own where an entry is missing
        return None


def checked(options: Mapping[str, object]) -> dict[str, str]:
    """Return options as the provider reads them. Raises ValueError where there is no such option or value, TypeError for no mapping."""
    if not isinstance(options, Mapping):
        raise TypeError(f"options is a {type(options).__name__}; give a mapping, such as {{'force': 1}}")
    given = {key: str(int(value) if isinstance(value, bool) else value) for key, value in options.items()}
    for key, value in given.items():
        if key not in OPTIONS:
            close = difflib.get_close_matches(str(key), OPTIONS, n=1)
            known = "; ".join(
                f"{name} is {' or '.join(filter(None, of))}: {what}" for name, (of, what) in OPTIONS.items()
            )
            raise ValueError(
                f"secateur_runtime has no option {key!r}"
                + (f"; did you mean {close[0]!r}?" if close else f": {known}")
            )
        if value not in OPTIONS[key][0]:
            raise ValueError(f"{key} is {value!r}; it can be {' or '.join(filter(None, OPTIONS[key][0]))}")
    return given
