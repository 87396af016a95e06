"""A table of latency: what each layer takes at which channel counts in an engine, measured once per machine and kept."""

from __future__ import annotations

import hashlib
import json
import math
import os
import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from secateur.budget.layers import Layer, Streaming
from secateur.deployment.bench import LayerEngine, LayerTime, Single, layer_ms, machine, versions, weights_ms
from secateur.storage import short, write_text

_PARTS = (1.0, 0.5, 0.25)  # of input and output channels: nine points for four numbers
_STEPS = (16, 8, 4, 2)
_COUNTED = 64  # channels of the layer that the engine's step is looked for in
_MEGABYTES = (2, 8, 12, 16, 24, 32, 48, 64)  # of weights
IN_CACHE = _MEGABYTES[1]  # so many megabytes of weights need no table of streaming


class _Kind(NamedTuple):
    """A layer as the table knows it, which it is called by ``key``; of convolutions in groups, whole groups may go."""

    key: str
    single: Single
    whole: bool


class Latency:
    """Milliseconds of layers: ``a + b·inputs + c·outputs + d·inputs·outputs``, fitted to what the engine took (as the table of HALP, arXiv 2110.10811, §3.2).

    Channels of convolutions are counted as the engine pads them, in multiples of :meth:`step`; but for inputs fewer than one.

    Args:
        engine: Which engine.
        threads: Of a forward pass.
        cache: The folder that keeps tables; None is ``secateur/latency`` in the user's cache.
        say: Is told what is timed.
    """

    def __init__(
        self,
        engine: LayerEngine,
        threads: int = 1,
        cache: Path | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.engine: LayerEngine = engine
        self.threads, self._say = threads, say
        known = versions()
        name = f"{machine()['processor']} {threads} {engine} {known.get(engine, '')} among several"
        folder = (
            cache or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "secateur" / "latency"
        )
        self.file = folder / f"{engine}-{hashlib.sha256(name.encode()).hexdigest()[:16]}.json"
        self._known: dict[str, list[float]] = _read(self.file)
        self._fresh = False
        self._clean = True  # nothing took the core from what is being measured
        self._unclean: set[str] = set()  # what was disturbed serves this time and is not kept

    def coefficients(self, layers: Sequence[Layer], thinned: Collection[str] = ()) -> Tensor:
        """a, b, c, d of each layer, all its calls together, (layers, 4); what is not in the table yet is measured.

        Of convolutions in groups whole groups go, but of those whose weights are ``thinned`` the same channels of every group.
        """
        kinds = [[_kind(layer, call, thinned) for call in layer.calls] for layer in layers]
        fresh = {one.key: one for kind in kinds for one in kind if one.key not in self._known}
        try:
            for number, kind in enumerate(fresh.values(), 1):
                self._say(
                    f"timing in {self.engine}: {number} of {len(fresh)} kinds of layers that the table of this machine lacks"
                )
                step = self.step() if kind.single.kernel else 1
                self._clean = True
                self._learn(kind.key, self._measured(kind.single, kind.whole, step))
        finally:  # where it is stopped, the next run goes on from there
            self._keep()
        found = [sum(np.array(self._known[one.key]) for one in kind) for kind in kinds]
        return torch.tensor(np.array(found), dtype=torch.float64).reshape(len(layers), 4)

    def step(self) -> int:
        """The channel count that this engine likes multiples of: the largest of 16, 8, 4 and 2 below which fewer channels gain nothing."""
        if "step" not in self._known:
            self._clean = True
            single = Single(_COUNTED, _COUNTED, (1, 32, 32), 1, (3, 3), (1, 1), (1, 1), (1, 1))
            whole = self._ms(single)
            gains = [
                1 - self._ms(replace(single, outputs=_COUNTED - step // 2)) / whole for step in _STEPS
            ]  # half a step fewer: less than half of its share means that a whole step is computed anyway
            liked = [s for s, gain in zip(_STEPS, gains, strict=True) if gain < 0.5 * (s / 2) / _COUNTED]
            self._learn("step", [float(liked[0] if liked else 1)])
            self._keep()
        return int(self._known["step"][0])

    def streaming(self) -> Streaming:
        """What weights take that the caches do not hold."""
        if "streaming" not in self._known:
            self._say(f"timing in {self.engine}: weights that the caches do not hold")
            self._clean = True
            taken = [self._seen(found) for found in weights_ms(_MEGABYTES, self.engine, self.threads)]
            near = (taken[1] - taken[0]) / (IN_CACHE - _MEGABYTES[0])
            beyond = [
                ms - taken[1] - near * (count - IN_CACHE) for ms, count in zip(taken, _MEGABYTES, strict=True)
            ]
            self._learn("streaming", np.maximum.accumulate([0.0, *beyond[2:]]).tolist())
            self._keep()
        return Streaming((0.0, *map(float, _MEGABYTES[1:])), (0.0, *self._known["streaming"]))

    def _learn(self, key: str, value: list[float]) -> None:
        self._known[key], self._fresh = value, True
        if not self._clean:
            self._unclean.add(key)

    def _ms(self, single: Single) -> float:
        return self._seen(layer_ms(single, self.engine, self.threads))

    def _seen(self, found: LayerTime) -> float:
        self._clean = self._clean and found.clean
        return found.ms

    def _measured(self, single: Single, grouped: bool, step: int) -> list[float]:
        rows: list[list[float]] = []
        taken: list[float] = []
        for sized in _sizes_grouped(single, step) if grouped else _sizes(single, step):
            taken.append(self._ms(sized))
            ins = float(padded(sized.inputs, step) if sized.inputs > step else sized.inputs)
            outs = float(padded(sized.outputs, step))
            rows.append([1.0, 0.0, outs, 0.0] if grouped else [1.0, ins, outs, ins * outs])
        return _nonnegative(np.array(rows), np.array(taken))

    def _keep(self) -> None:
        if self._fresh:
            self._fresh = False
            kept = {key: value for key, value in self._known.items() if key not in self._unclean}
            if self._unclean:
                warnings.warn(
                    f"other programs took the core while {len(self._unclean)} kinds of layers were timed in {self.engine}: what is "
                    "predicted of them may be too slow, and is measured anew next time. Close them, or give fewer threads.",
                    stacklevel=2,
                )
            try:
                write_text(self.file, json.dumps(kept))
            except OSError as error:  # what was measured is known all the same
                warnings.warn(
                    f"the table of latency cannot be kept ({short(error)}) and is measured anew next time; set XDG_CACHE_HOME to a "
                    "folder that can be written.",
                    stacklevel=2,
                )


def _kind(layer: Layer, call: tuple[int, ...], thinned: Collection[str]) -> _Kind:
    each = layer.weight in thinned
    single = Single(layer.inputs, layer.outputs, call, layer.groups, **layer.settings)
    key = f"{json.dumps(asdict(single))}{' thinned' if each else ''}"
    return _Kind(key, single, layer.groups > 1 and not each)


def padded(channels: int, step: int) -> int:
    """The next multiple of ``step``: what is computed where channels are fewer."""
    return -(-channels // step) * step


def _sizes(single: Single, step: int) -> list[Single]:
    """The layer at some numbers of channels: multiples of ``step`` but for its own, and for inputs fewer than that."""

    def counts(whole: int, least: int) -> list[int]:
        parts = [max(1, round(whole * part)) for part in _PARTS]
        return sorted({min(whole, padded(part, step)) if part > least else part for part in parts})

    many = single.groups
    if many > 1:  # every group the same
        step = 1
    return [
        replace(single, inputs=many * ins, outputs=many * outs)
        for ins in counts(single.inputs // many, step)
        for outs in counts(single.outputs // many, 0)
    ]


def _sizes_grouped(single: Single, step: int) -> list[Single]:
    """A grouped convolution with fewer groups."""
    found: list[Single] = []
    ins, outs = single.inputs // single.groups, single.outputs // single.groups
    for groups in sorted(
        {min(single.groups, padded(max(1, round(single.groups * part)), step)) for part in _PARTS}
    ):
        found.append(replace(single, inputs=groups * ins, outputs=groups * outs, groups=groups))
    return found


def _nonnegative(rows: np.ndarray[Any, Any], taken: np.ndarray[Any, Any]) -> list[float]:
    """Least squares of relative errors with no negative number: those that would be are left out, the most negative first."""
    weighted, ones = rows / taken[:, None], np.ones(len(taken))
    used = [place for place in range(rows.shape[1]) if rows[:, place].any()]
    made = np.zeros(rows.shape[1])
    while used:
        scale = np.abs(weighted[:, used]).max(0)
        found = np.linalg.lstsq(weighted[:, used] / scale, ones, rcond=None)[0]
        if (found >= 0).all():
            made[used] = found / scale
            break
        used.pop(int(found.argmin()))
    return [float(value) for value in made]


def _read(file: Path) -> dict[str, list[float]]:
    """What is kept; a file that is damaged is measured anew."""
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
        found = {str(key): [float(number) for number in value] for key, value in held.items()}
        return {key: value for key, value in found.items() if _sound(key, value)}
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return {}


def _sound(key: str, value: list[float]) -> bool:
    if key == "step":
        return len(value) == 1 and value[0] in (1, *_STEPS)
    if key == "streaming":
        return (
            len(value) == len(_MEGABYTES) - 1
            and all(map(math.isfinite, value))
            and value == sorted(value)
            and not value[0]
        )
    return len(value) == 4 and any(value) and all(math.isfinite(number) and number >= 0 for number in value)
