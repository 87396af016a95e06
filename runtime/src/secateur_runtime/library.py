"""The compiled provider: where it lies, and how ONNX Runtime gets to know it."""

import ctypes
import functools
import sys
from pathlib import Path

OLDEST = (1, 24, 3)
PROVIDER = "SecateurExecutionProvider"


class Unsupported(RuntimeError):  # noqa: N818  (it is what the machine is, not an error of the caller)
    """This machine or this onnxruntime cannot run the provider; says which and what to do."""


def library() -> Path:
    """Return the absolute path of the compiled library, for programs in other languages. Raises `Unsupported`."""
    name = {"win32": "secateur.dll", "darwin": "libsecateur.dylib"}.get(sys.platform, "libsecateur.so")
    path = Path(__file__).resolve().parent / name
    if not path.is_file():
        raise Unsupported(
            f"secateur-runtime was installed without its library for this machine ({path} is missing); "
            "install a wheel for it, or from source: pip install ./runtime"
        )
    return path


def version() -> tuple[int, ...]:
    """Return the version of onnxruntime as numbers; raises `Unsupported` where it is missing."""
    try:
        import onnxruntime
    except ImportError as error:
        raise Unsupported(
            f"onnxruntime cannot be imported ({error}); run: pip install 'onnxruntime>=1.24.3'"
        ) from error
    parts = onnxruntime.__version__.split("+")[0].split(".")[:3]
    return tuple(int("".join(c for c in part if c.isdigit()) or 0) for part in parts)


@functools.cache
def register() -> str:
    """Make ONNX Runtime know the provider, once a process, and return its name. Raises `Unsupported`."""
    import onnxruntime

    if version() < OLDEST:
        raise Unsupported(
            f"onnxruntime {onnxruntime.__version__} is too old for plugin providers; "
            f"run: pip install 'onnxruntime>={'.'.join(map(str, OLDEST))}'"
        )
    if not any(device.ep_name == PROVIDER for device in onnxruntime.get_ep_devices()):
        try:
            onnxruntime.register_execution_provider_library(PROVIDER, str(library()))
        except Unsupported:
            raise
        except Exception as error:  # onnxruntime's own classes have no common base
            raise Unsupported(
                f"onnxruntime {onnxruntime.__version__} does not load {library()}: {error}"
            ) from error
    return PROVIDER


@functools.cache
def functions() -> ctypes.CDLL:
    """Return the library as loaded, for what it exports beside the provider."""
    loaded = ctypes.CDLL(str(library()))
    loaded.secateur_report.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t]
    loaded.secateur_report.restype = ctypes.c_size_t
    loaded.secateur_has.argtypes = [ctypes.c_char_p]
    return loaded
