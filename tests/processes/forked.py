"""Stands for ``subprocess`` where a comparison trains: a fork of this process, which has imported everything already."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
import warnings
from types import SimpleNamespace
from typing import Any, TextIO

from secateur.cli import main


class Forked:
    """Runs ``secateur`` with the words that follow its name on the command line.

    Args:
        command: As of ``subprocess.Popen``.
        stdout: Where it says what it says.
        env: Its environment.
    """

    def __init__(self, command: list[str], *, stdout: TextIO, env: dict[str, str], **_: Any) -> None:
        self.returncode: int | None = None
        words = command[command.index("secateur") + 1 :]
        with warnings.catch_warnings(action="ignore"):  # that other threads are not in the fork
            self._number = os.fork()
        if self._number:
            return
        code = 1
        try:
            os.environ.clear()
            os.environ.update(env)
            for number in (1, 2):
                os.dup2(stdout.fileno(), number)
            with open(1, "w", closefd=False) as said:
                sys.stdout = sys.stderr = said
                code = main(words)
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        os._exit(code)

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()

    def poll(self) -> int | None:
        return self.returncode if self.returncode is not None else self._ended(os.WNOHANG)

    def wait(self) -> int | None:
        return self.returncode if self.returncode is not None else self._ended(0)

    def terminate(self) -> None:
        os.kill(self._number, signal.SIGTERM)

    def _ended(self, how: int) -> int | None:
        done, status = os.waitpid(self._number, how)
        if done:
            self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


FORKS = SimpleNamespace(Popen=Forked, PIPE=subprocess.PIPE, STDOUT=subprocess.STDOUT)
