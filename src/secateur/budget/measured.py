"""What a network costs, measured: nothing here is a prediction."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from torch import nn

from secateur.budget.limits import Budget, Kind
from secateur.deployment.bench import Measure, bench
from secateur.deployment.export import LossyError, Quantize, export, int8_suffix
from secateur.measures import DeadTaskWarning, count_macs
from secateur.problem import Input, Problem, called
from secateur.storage import folder_aside

_ROUNDS, _PROCESSES = 6, 3
_STEADY = 0.1  # spread (10 to 90 % of the passes) over the median, above which it is measured again
_MORE = 4  # in so many times more processes
_CLEAN = 0.05  # share of the time without a core above which it is measured again
_TRIES = 5  # so often at most
_DIGITS = 24e-6  # megabytes of a number that says how exact a file in int8 is, at most
_SUFFIX = {
    "torch": ".pt2",
    "onnxruntime": ".onnx",
    "sparse": ".onnx",
    "openvino": ".xml",
    "executorch": ".pte",
}


@dataclass(frozen=True)
class File:
    """How the file is written whose megabytes count.

    Args:
        about: What is kept in it, as of :func:`secateur.export`.
        dynamic: Its size may vary.
        example: What it is made with; what costs are measured on if None.
    """

    about: Mapping[str, Any] = field(default_factory=dict[str, Any])
    dynamic: bool = False
    example: Input | None = None


class Costing:
    """What the networks of one run cost; they are left as they were.

    A time in which other programs took the core is measured again; of several the least disturbed stands, with a warning. One that
    varies is measured again in more processes: where weights lie in memory differs between them.

    A file in int8 says how exact it is, which takes some digits more or less; and weights that round to zero take less room, which
    are others once it is trained. So a network that is not finished counts as by so much larger as was seen yet.

    Args:
        problem: Dense and trained; how networks are called, and what a finished file in int8 is calibrated on.
        example: What a network takes.
        budget: What is limited, and in which engine.
        quantize: Time and megabytes are those of the file in int8.
        file: How the file is written; without metadata and of the example's size if None.
        say: Is told why something is measured again.
    """

    def __init__(
        self,
        problem: Problem,
        example: Input,
        budget: Budget,
        quantize: Quantize | None = None,
        file: File | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.problem, self.example, self.budget = problem, example, budget
        self.quantize: Quantize | None = quantize
        self.file, self._say = file or File(), say
        self._more = _DIGITS * (1 + len(problem.tasks)) if quantize else 0.0

    def dense(self) -> dict[Kind, float]:
        """Of the dense network in float; raises as :meth:`measure`."""
        plain = Costing(self.problem, self.example, self.budget, file=self.file, say=self._say)
        return plain.measure(self.problem.model)

    def measure(self, model: nn.Module, keep: Sequence[str] = ()) -> dict[Kind, float]:
        """Every cost that the budget limits, of a network that is not finished.

        Args:
            model: Whose.
            keep: Tasks whose heads stay in float.

        Raises:
            ValueError: If it cannot be exported.
            EngineMissingError: If the engine is not installed; it says what to install.
        """
        found, kinds = self.count(model), self.budget.kinds
        if "ms" in kinds:
            found["ms"] = self._milliseconds(model, keep)
        if "mb" in kinds:
            found["mb"] = self.megabytes(model, keep) + self._more
        return {kind: found[kind] for kind in kinds}

    def count(self, model: nn.Module) -> dict[Kind, float]:
        """Parameters and multiply-accumulates of a network, where the budget limits them."""
        found: dict[Kind, float] = {}
        if "params" in self.budget.kinds:
            found["params"] = float(sum(p.numel() for p in model.parameters()))
        if "macs" in self.budget.kinds:
            network = called(model, self.problem.call)
            found["macs"] = float(sum(count_macs(network, self.example).values()))
        return found

    def finished(
        self, model: nn.Module, keep: Sequence[str], costs: Mapping[Kind, float]
    ) -> dict[Kind, float]:
        """``costs`` of a network that is finished now, with the megabytes of its file; the rest as of :meth:`measure`."""
        if "mb" not in costs:
            return dict(costs)
        held = self.megabytes(model, keep, finished=True)
        self._more += max(0.0, held - costs["mb"])
        return {**costs, "mb": held}

    def megabytes(self, model: nn.Module, keep: Sequence[str], *, finished: bool = False) -> float:
        """Of the file for the engine, all its parts; raises as :meth:`measure`.

        Args:
            model: Whose.
            keep: Tasks whose heads stay in float.
            finished: In int8 it is calibrated on training batches, but where the file does not take their inputs; else on the
                example: that changes some digits in the file alone.
        """
        on = self.example if self.file.example is None else self.file.example
        suffix = int8_suffix(self.budget.engine) if self.quantize else _SUFFIX[self.budget.engine]
        how: dict[str, Any] = {
            "about": self.file.about,
            "dynamic": self.file.dynamic,
            "call": self.problem.call,
        }
        if self.quantize:
            how |= {"quantize": self.quantize, "keep_float": keep}
            how["largest_error"] = math.inf  # floors judge it
        with folder_aside(Path(gettempdir()) / "secateur-budget") as folder:
            path = folder / f"model{suffix}"  # as it will be called: the name is part of a .pt2
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeadTaskWarning)  # it is judged when it is trained
                if not self.quantize:
                    export(model, on, path, **how)
                else:
                    try:
                        export(model, on, path, calibrate=self.problem if finished else [on], **how)
                    except LossyError:  # of another size
                        export(model, on, path, calibrate=[on], **how)
            return sum(part.stat().st_size for part in folder.iterdir() if part.stem == path.stem) / 1e6

    def _milliseconds(self, model: nn.Module, keep: Sequence[str]) -> float:
        """Of a forward pass."""
        taken: list[Measure] = []
        times = 1
        for tried in range(1, _TRIES + 1):
            made = bench(
                {"network": model},
                self.example,
                [self.budget.engine],
                threads=self.budget.threads,
                repeats=times * _ROUNDS,
                processes=times * _PROCESSES,
                call=self.problem.call,
                quantize=self.quantize,
                keep_float=keep,
            )
            taken.append(made.measures[self.budget.engine]["network"])
            why = f"other programs took the core {taken[-1].disturbed or 0.0:.0%} of the time"
            if (taken[-1].disturbed or 0.0) <= _CLEAN:
                if times > 1 or taken[-1].p90 - taken[-1].p10 <= _STEADY * taken[-1].p50:
                    break
                times, why = _MORE, f"it varies, so in {_MORE} times as many processes"
            if tried < _TRIES:
                self._say(f"timing again, {tried + 1} of at most {_TRIES} times: {why}")
        return _least_disturbed(taken).p50


def _least_disturbed(taken: Sequence[Measure]) -> Measure:
    """The last that nothing disturbed; where there is none the least disturbed, with a warning."""
    clean = [measure for measure in taken if (measure.disturbed or 0.0) <= _CLEAN]
    if clean:
        return clean[-1]
    best = min(taken, key=lambda measure: measure.disturbed or 0.0)
    warnings.warn(
        f"prune: other programs took the core {best.disturbed:.0%} of the time in which the network was measured, {_TRIES} times "
        "over; it may be faster than measured. Close them, or give fewer threads.",
        stacklevel=2,
    )
    return best
