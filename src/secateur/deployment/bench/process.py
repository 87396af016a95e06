"""The parent's end of a worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import IO, Any

_WORKER = Path(__file__).with_name("worker.py")
_THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
# glibc gives the heap back between passes or does not, by the chance of its layout: in some processes every pass of an
# engine that allocates its activations (torch) then pays about a thousand page faults and takes twice as long.
_HEAP = {
    "MALLOC_TRIM_THRESHOLD_": "1073741824",
    "MALLOC_MMAP_THRESHOLD_": "1073741824",
    "MALLOC_TOP_PAD_": "67108864",
}


class Worker:
    """A process of its own for one network in one engine, with a fixed number of threads; use it in a ``with``.

    It keeps its heap between passes (glibc alone has a setting for that).

    Args:
        path: The exported file.
        example: The inputs, an .npz file.
        threads: Threads of a forward pass.
        precision: What OpenVINO computes in.
        log: A file for what the engine prints.
        engine: Which, where the suffix of the file does not say.

    Attributes:
        layers: What the engine says of each layer, once it runs.
    """

    def __init__(
        self, path: Path, example: Path, threads: int, precision: str, log: Path, engine: str | None = None
    ) -> None:
        self._path, self._log = path, log
        self._given: dict[str, Any] = {"path": str(path), "input": str(example), "threads": threads}
        self._given |= {"precision": precision, "engine": engine}
        self.layers: list[dict[str, Any]] = []
        self._errors: IO[bytes] | None = None
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Worker:
        environment = os.environ | dict.fromkeys(_THREADS, str(self._given["threads"])) | _HEAP
        self._errors = self._log.open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment,
        )
        try:
            self.layers = self._ask(self._given)["layers"]
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process, errors = self._process, self._errors
        self._process = self._errors = None
        if process is not None:
            process.kill()  # it holds nothing that must be written
            process.communicate()
        if errors is not None:
            errors.close()

    def time(self, calls: int) -> dict[str, Any]:
        """Times ``calls`` forward passes: ``ms``, ``disturbed``, ``settled`` and ``memory``.

        Raises:
            RuntimeError: If the process died; the message holds its last words.
        """
        return self._ask({"calls": calls})

    def by_layer(self, passes: int) -> dict[str, float]:
        """As of :func:`secateur.deployment.engines.layer_times`.

        Raises:
            RuntimeError: If the process died; the message holds its last words.
        """
        return self._ask({"by_layer": passes})

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            code = process.wait()  # its last words come after its output ends
            said = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:]
            raise RuntimeError(
                "\n".join([f"bench: the process for {self._path.name} ended (exit {code}):", *said])
            )
        return json.loads(line)
