"""Runs a .pte file with the ExecuTorch runtime."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from secateur.deployment.engines.engine import KEY, Array, Engine, Precision, UnreadableError, need, parsed
from secateur.deployment.engines.unheard import unheard

_NO_NEWS = b"[cpuinfo_utils.cpp:", b"[threadpool.cpp:"  # which core this is, and how many threads were asked


def load(path: Path, threads: int | None, precision: Precision) -> Engine:
    """The method ``forward`` of a program; the method ``secateur`` holds the metadata as bytes of JSON."""
    torch, runtime, bindings = need(
        "executorch", "torch", "executorch.runtime", "executorch.extension.pybindings.portable_lib"
    )
    with unheard(*_NO_NEWS):
        now = bindings._threadpool_get_thread_count()  # the first to ask looks at the cores
        if threads is not None and now != threads:  # not while another runs
            bindings._unsafe_reset_threadpool(threads)
    program = runtime.Runtime.get().load_program(path)
    if not {KEY, "forward"} <= set(program.method_names):
        raise UnreadableError(f"{path} carries no metadata of secateur; write it with secateur.export.")
    (held,) = program.load_method(KEY).execute([])
    about = parsed(path, bytes(held.tolist()).decode())
    forward = program.load_method("forward")
    alone = Lock()  # another pass, of whatever thread, may write over what this one gave

    def call(
        arrays: list[Array], kept: Any = program
    ) -> list[Array]:  # the method reads the program's memory
        with alone:
            found: Any = forward.execute([torch.from_numpy(np.ascontiguousarray(array)) for array in arrays])
            return [tensor.numpy().copy() for tensor in found]

    return Engine("executorch", version("executorch"), about, call)
