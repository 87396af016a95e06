"""A package of somebody's parts, written where a test wants it; importing it leaves a mark, and so does calling what is hostile."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

_CODE = """
from pathlib import Path
from subprocess import run

from torch.optim import SGD

from secateur import Callback
from secateur.data import rooms
from secateur.methods import GradualMagnitude
from secateur.weighting import Equal
from secateur.zoo import deeplab_resnet34  # which is not this module's own
from tiny_runs import Small

Path({mark!r}).touch()
NUMBER = 3


def streets(*, train_count: int = 16, val_count: int = 4, test_count: int = 8, size=(24, 32), batch: int = 4, seed: int = 0):
    return rooms(size=size, batch=batch, seed=seed, train_count=train_count, val_count=val_count, test_count=test_count)


def net(tasks):
    return Small(tasks)


def nothing(**_):
    return None


class Method(GradualMagnitude):
    pass


class Weights(Equal):
    pass


class Descent(SGD):
    pass


class Watch(Callback):
    def __init__(self, number: int = 0):
        self.number = number


class Mean:
    def __call__(self, matrix):
        return matrix.mean(0)
"""


class Lab:
    """The package ``my_lab``, and whether its code has run.

    Args:
        folder: Where it is written.
        monkeypatch: Puts it on the path for a test.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.mark = folder / "imported"
        (folder / "my_lab").mkdir()
        (folder / "my_lab" / "__init__.py").write_text(_CODE.format(mark=str(self.mark)), encoding="utf-8")
        monkeypatch.syspath_prepend(str(folder))
        self.forget()

    def forget(self) -> None:
        """As in a new process."""
        sys.modules.pop("my_lab", None)
        self.mark.unlink(missing_ok=True)

    @property
    def imported(self) -> bool:
        """Whether its code has run since :meth:`forget`."""
        return self.mark.exists()


PARTS = {
    "data": "my_lab.streets",
    "model": "my_lab.net",
    "method": "my_lab.Method",
    "weighting": "my_lab.Weights",
    "aggregator": "my_lab.Mean",
    "optimizer": "my_lab.Descent",
}
CALLBACK = "my_lab.Watch"
"""One of several that a configuration may name."""
