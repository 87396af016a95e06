"""Threads of a command sleep while they wait, so that two jobs can share the cores."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CODE = """
import os
from secateur.cli import main
try:
    main([{verb!r}, "--help"])
except SystemExit:
    print("policy:", os.environ.get("OMP_WAIT_POLICY"))
"""


@pytest.mark.parametrize(
    ("verb", "given", "found"),
    [
        ("evaluate", None, "passive"),
        ("compare", None, "passive"),
        ("evaluate", "active", "active"),
        ("bench", None, "None"),  # which times networks alone
    ],
)
def test_threads_that_wait_sleep(verb: str, given: str | None, found: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    environment |= {} if given is None else {"OMP_WAIT_POLICY": given}
    code = CODE.format(verb=verb)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == f"policy: {found}"
