"""Around torch.export, in threads."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

OLD = tuple(map(int, torch.__version__.split(".")[:2])) < (2, 14)
THREADS = """
import threading
import torch
from secateur import compact

def compacted():
    compact(torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)), torch.zeros(2, 3))

for _ in range(2):
    thread = threading.Thread(target=compacted)
    thread.start()
    thread.join()
compacted()
"""


@pytest.mark.skipif(not OLD, reason="torch 2.14 keeps nothing in threads that end")
def test_a_network_is_traced_after_the_thread_that_traced_first_has_ended() -> None:
    done = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
