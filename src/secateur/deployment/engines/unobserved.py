"""Usage statistics of the engines' tools, which nobody asked for, stay off."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager

_OFF = {"CI": "true", "NNCF_CI": "1"}  # what openvino_telemetry and NNCF take for a machine without a user


@contextmanager
def unobserved() -> Generator[None]:
    """Within it OpenVINO's converter and NNCF send nothing and leave no identifier in the user's home.

    Both would otherwise report their use unless ``opt_in_out --opt_out`` was run. The environment is put back after it.
    """
    before = {name: os.environ.get(name) for name in _OFF}
    os.environ.update(_OFF)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
