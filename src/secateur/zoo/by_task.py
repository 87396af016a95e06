"""A module for each task."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn


def by_task(modules: Mapping[str, nn.Module]) -> nn.ModuleDict:
    """The modules under the names of their tasks.

    Raises:
        ValueError: If a task is called as no part of a module can be: it is empty, has a dot, or is an attribute of ``nn.ModuleDict``.
    """
    for task in modules:
        if not task or "." in task or hasattr(nn.ModuleDict(), task):
            other = task.replace(".", "_") if "." in task else f"{task}_"
            raise ValueError(
                f"A task is called {task!r}, which no part of a module can be called; rename it, such as to {other!r}: in labels, or the "
                "folder of a domain."
            )
    return nn.ModuleDict(dict(modules))
