"""Stopping and going on: all that the next step depends on, to and from one file."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from secateur.problem import from_first, preserved_rng, rng_state, same_generator, set_rng_state
from secateur.storage import ExtraStates, load_snapshot, restore, save_snapshot, short
from secateur.training.resuming.identity import differences
from secateur.training.resuming.moments import fitting
from secateur.training.resuming.stream import Stream


class Resumable(Protocol):
    """What has a state of its own: tensors and plain values."""

    def state_dict(self) -> dict[str, Any]:
        """The state."""
        ...

    def load_state_dict(self, state: dict[str, Any], /) -> object:
        """Takes it up."""
        ...


def extra_part(model: nn.Module, path: Path | None) -> dict[str, Resumable]:
    """What modules of ``model`` keep by ``get_extra_state``, as a part of :class:`Resumption`; none where there is nothing, or no file.

    Warns:
        UserWarning: If some of it is nothing that the file can hold.
    """
    if path is None:
        return {}
    extra = ExtraStates(model)
    if extra.lost:
        warnings.warn(
            f"fit: {', '.join(extra.lost)} of the model is neither a tensor nor a plain value, so a checkpoint cannot hold it: a stopped run "
            "goes on with what the model has when it is built. Let get_extra_state return tensors, numbers, text, lists and dicts.",
            stacklevel=4,
        )
    return {"extra": extra} if extra else {}


@dataclass
class Resumption:
    """The checkpoint of a run.

    Args:
        path: The file; None for no checkpoint.
        tensors: The model's, of :func:`secateur.storage.snapshot.named_tensors`.
        parts: What else goes on where it stopped, by its name in the file, in the order of loading.
        stream: The place in the data.
        decides: What else decides the result, as plain values; another one is refused.
        writes: This process writes the file; of several one does, and all gather what is in it.
        device: Of the training.
        optional: Parts that a file may lack, as one of before they were there does.
    """

    path: Path | None
    tensors: Mapping[str, Tensor]
    parts: Mapping[str, Resumable]
    stream: Stream
    decides: Mapping[str, Any]
    writes: bool = True
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    optional: frozenset[str] = frozenset({"callbacks"})

    def load(self, optimizer: Optimizer) -> dict[str, Any] | None:
        """Goes to where the checkpoint was written; returns ``{"step", "rows", "seconds", ...}``, None without a file.

        Raises:
            ValueError: If the file is damaged, or of another model, length or part.
        """
        if self.path is None or (saved := from_first(self._read, self.device)) is None:
            return None
        kept = {name: value.detach().clone() for name, value in self.tensors.items()}
        drawn, extra = rng_state(), self.parts.get("extra")
        extra_kept = extra.state_dict() if extra else {}
        try:
            self._check_place(saved)
            if found := differences(saved["decides"], self.decides):
                raise ValueError(f"it is of another training: {found}. Ask for the same, or delete it")
            with preserved_rng():
                set_rng_state(saved["rng"])  # one that cannot be taken up says so while nothing is changed
                state = fitting(optimizer, saved["optimizer"])
            for name, part in self.parts.items():
                state_of = saved.get(name, {}) if name in self.optional else saved[name]
                part.load_state_dict(state_of)
                if (done := state_of.get("done", saved["step"])) != saved["step"]:
                    raise ValueError(
                        f"it is of step {saved['step']}, and its {name} of step {short(done)}; delete it"
                    )
            self.stream.seek(saved["step"], saved["stream"])
            restore(self.tensors, saved["model"])
            optimizer.load_state_dict(state)
            set_rng_state(saved["rng"])
            same_generator(self.device)
        except BaseException as error:
            restore(self.tensors, kept)  # masks are laid on weights as they are taken up
            if extra:
                extra.load_state_dict(extra_kept)
            set_rng_state(drawn)
            if isinstance(error, KeyError):
                raise ValueError(
                    f"The checkpoint {self.path} lacks {error}: it is of an older version; delete it."
                ) from error
            if isinstance(error, Exception):  # parts of any kind say in their own ways that a state is none
                raise ValueError(f"The checkpoint {self.path}: {short(error, 400)}") from error
            raise
        return saved

    def _read(self) -> dict[str, Any] | None:
        """Of several processes the first one alone reads: the others may not have the file."""
        if self.path is None or not self.path.exists():
            return None
        return load_snapshot(self.path, self.tensors)

    def _check_place(self, saved: Mapping[str, Any]) -> None:
        """Raises ValueError if the step is none, or the history is no list of rows."""
        step, rows, seconds = saved["step"], saved["rows"], saved["seconds"]
        if type(step) is not int or step < 0:
            raise ValueError(f"it is of step {short(step)}, which is none; delete it")
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in cast(list[Any], rows)):
            raise ValueError("its history is no list of rows; delete it")
        if type(seconds) not in (int, float) or not 0 <= seconds < inf:
            raise ValueError(f"its training took {short(seconds)} seconds; delete it")

    def save(self, step: int, optimizer: Optimizer, rows: list[dict[str, Any]], seconds: float) -> None:
        """Writes the file.

        Raises:
            OSError: If it cannot be written; the last one is kept.
        """
        if self.path is None:
            return
        state = {
            "step": step,
            "decides": dict(self.decides),
            **{name: part.state_dict() for name, part in self.parts.items()},
            "optimizer": optimizer.state_dict(),
            "stream": self.stream.state_dict(),
            "rng": rng_state(),
            "seconds": seconds,
        }
        if self.writes:
            save_snapshot(self.path, self.tensors, state, rows)

    def kept(self) -> str:
        """For errors: what there is to go on from."""
        exists = self.path is not None and self.path.exists()
        return f"The last good checkpoint is {self.path}." if exists else "No checkpoint was written."
