"""An exported file as a module, for whatever takes one: pictures of its predictions, and its metrics."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from secateur.deployment.engines import Engine, load_engine
from secateur.problem import Input


class Exported(nn.Module):
    """A loaded file: ``model(x) -> {task: prediction}`` on the CPU, for any number of samples.

    A file whose batch is fixed gets pieces of that size, the last one filled up by its last sample. Where each task has
    its own input, ``x`` may hold those of some tasks alone, or be one tensor for all of them.

    Args:
        path: The file.
        engine: ``sparse`` for secateur-runtime, or None for that of the suffix.
        outputs: Of a file that ``export`` did not write: task to the name of its output.

    Raises:
        As :func:`secateur.deployment.engines.load_engine`.
    """

    def __init__(
        self, path: Path, engine: str | None = None, outputs: Mapping[str, str] | None = None
    ) -> None:
        super().__init__()
        self.path = path
        self.engine: Engine = load_engine(path, engine=engine, outputs=outputs)
        self.about: Mapping[str, Any] = self.engine.about
        self.tasks = list(self.about["tasks"])
        self.owners = [given.get("task") for given in self.about["inputs"].values()]

    @property
    def apart(self) -> bool:
        """Whether each task has an input of its own."""
        return set(self.owners) <= set(self.tasks)

    def forward(self, x: Input) -> dict[str, Tensor]:
        """One pass, or as many as the file's batch takes.

        Raises:
            ValueError: If the engine does not take ``x``.
        """
        if isinstance(x, Tensor) and self.apart:  # one for all
            x = dict.fromkeys(map(str, self.owners), x)
        if isinstance(x, Tensor) or not self.apart:
            return self._in_pieces(x)
        found: dict[str, Tensor] = {}
        for task in (name for name in x if name in self.tasks):  # each on its own: they need not be as many
            filled = {owner: x.get(owner, torch.zeros_like(x[task])) for owner in map(str, self.owners)}
            alone = {o: t if len(t) == len(x[task]) else torch.zeros_like(x[task]) for o, t in filled.items()}
            found[task] = self._in_pieces(alone)[task]
        return found

    def _in_pieces(self, x: Input) -> dict[str, Tensor]:
        arrays = {"": _array(x)} if isinstance(x, Tensor) else {name: _array(v) for name, v in x.items()}
        count = min(map(len, arrays.values()))
        sizes = [given["shape"][0] for given in self.about["inputs"].values() if given["shape"]]
        step = next((size for size in sizes if isinstance(size, int)), count)
        made: list[dict[str, Tensor]] = []
        for start in range(0, count, max(step, 1)):
            rows = np.minimum(np.arange(start, start + step), count - 1)
            part = {name: array[rows] for name, array in arrays.items()}
            kept = min(step, count - start)
            made.append({task: torch.from_numpy(y[:kept]) for task, y in self._pass(part).items()})
        return {task: torch.cat([piece[task] for piece in made]) for task in self.tasks}

    def _pass(self, part: dict[str, Any]) -> dict[str, Any]:
        given = part.get("", part)
        try:
            return self.engine(given)
        except Exception as error:  # every engine raises its own kinds
            shapes = [list(array.shape) for array in part.values()]
            wanted = [given["shape"] for given in self.about["inputs"].values()]
            raise ValueError(
                f"{self.path} does not take an input of {shapes}; it was exported for {wanted} "
                f"({type(error).__name__}: {' '.join(str(error).split()):.200})."
            ) from error


def _array(x: Tensor) -> Any:
    x = x.detach().cpu()
    return np.ascontiguousarray((x.float() if x.is_floating_point() else x).numpy())
