"""Stands for ``subprocess`` where a comparison trains: a fork of this process, which has imported everything already."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from types import SimpleNamespace
from typing import Any, TextIO

import torch

from secateur.cli import main


class Forked:
    """Runs ``secateur`` with the words that follow its name on the command line.

    Where autograd has threads of its own, which a fork has not (there is a GPU), it is the command itself that runs.

    Args:
        command: As of ``subprocess.Popen``.
        stdout: Where it says what it says.
        env: Its environment.
        start_new_session: Whether it leads a group of processes of its own.
    """

    def __init__(
        self,
        command: list[str],
        *,
        stdout: TextIO,
        env: dict[str, str],
        start_new_session: bool = False,
        **_: Any,
    ) -> None:
        self.returncode: int | None = None
        reads, self._input = os.pipe()
        with warnings.catch_warnings(action="ignore"):  # that other threads are not in the fork
            self.pid = os.fork()
        if not self.pid:
            os.close(self._input)
            if start_new_session:
                os.setsid()
            for given, number in ((reads, 0), (stdout.fileno(), 1), (stdout.fileno(), 2)):
                os.dup2(given, number)
            _child(command, env)
        os.close(reads)

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._input)
        self.wait()

    def poll(self) -> int | None:
        return self.returncode if self.returncode is not None else self._ended(os.WNOHANG)

    def wait(self) -> int | None:
        return self.returncode if self.returncode is not None else self._ended(0)

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)

    def _ended(self, how: int) -> int | None:
        done, status = os.waitpid(self.pid, how)
        if done:
            self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


def _child(command: list[str], env: dict[str, str]) -> None:
    """Never returns."""
    code = 1
    try:
        if not _can_train():
            os.execve(command[0], command, env)
        os.environ.clear()
        os.environ.update(env)
        with open(1, "w", closefd=False) as said:
            sys.stdout = sys.stderr = said
            code = main(command[command.index("secateur") + 1 :])
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    os._exit(code)


def program(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    """As ``python -c code words`` ends and what it says, in a fork: what it changes of Python is gone with it."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as said:
        with warnings.catch_warnings(action="ignore"):
            pid = os.fork()
        if not pid:
            os.dup2(out.fileno(), 1)
            os.dup2(said.fileno(), 2)
            _run(code, words)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        texts = [(file.seek(0), file.read())[1] for file in (out, said)]
    return subprocess.CompletedProcess([sys.executable, "-c", code, *words], status, *texts)


def _run(code: str, words: tuple[str, ...]) -> None:
    """Never returns."""
    status = 1
    with open(1, "w", closefd=False) as sys.stdout, open(2, "w", closefd=False) as sys.stderr:
        sys.argv = ["-c", *words]
        warnings.resetwarnings()
        for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", kind)  # as Python does by itself
        try:
            exec(compile(code, "<program>", "exec"), {"__name__": "__main__"})
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        except BaseException:
            traceback.print_exc()
    os._exit(status)


def _can_train() -> bool:
    try:
        torch.ones(1, requires_grad=True).sum().backward()
    except RuntimeError:
        return False
    return True


FORKS = SimpleNamespace(Popen=Forked, PIPE=subprocess.PIPE, STDOUT=subprocess.STDOUT)
