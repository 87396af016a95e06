"""Files that somebody else wrote: what they do not say of themselves comes from whoever has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from secateur.deployment.engines.seal import is_sealed

End = tuple[str, Sequence[Any]]
"""Name and shape of an input or output: numbers, and names or None of what varies."""
_FORMATS = (".onnx", ".xml")


class ForeignError(ValueError):
    """A file of others and what was said of it do not fit; says what the file has."""


def check_foreign(path: Path, outputs: Mapping[str, str]) -> None:
    """Raises ForeignError if the file is ours and speaks for itself, is of a format that has no names, or no task is named."""
    if path.suffix not in _FORMATS:
        raise ForeignError(
            f"{path}: outputs are named of {' and '.join(_FORMATS)} files alone; leave them out."
        )
    if is_sealed(path):
        raise ForeignError(f"{path} says itself which of its outputs is which task; leave outputs out.")
    if not outputs:
        raise ForeignError(
            f"{path}: outputs is empty; name the output of each task, such as '{{seg: output}}'."
        )


def described(
    path: Path, inputs: Sequence[End], outputs: Sequence[End], chosen: Mapping[str, str]
) -> dict[str, Any]:
    """Metadata as ``export`` would have written them, as far as the file knows them.

    Args:
        path: The file, for errors.
        inputs: That it has.
        outputs: That it has.
        chosen: Task to the output that holds its prediction.

    Raises:
        ForeignError: If an output is not there or two tasks share one, or the file has several inputs; names those that are there.
    """
    shapes = dict(outputs)
    for task, name in chosen.items():
        if name not in shapes:
            raise ForeignError(
                f"{path} has no output {name!r}, which is to be {task!r}; it has {', '.join(map(repr, shapes))}."
            )
    if len(set(chosen.values())) < len(chosen):
        raise ForeignError(
            f"{path}: two tasks are to be the same output in {dict(chosen)}; give each its own."
        )
    if len(inputs) != 1:
        raise ForeignError(
            f"{path} has the inputs {', '.join(repr(name) for name, _ in inputs)}; files of others are taken with one input alone."
        )
    ((name, shape),) = inputs
    sides = [side if isinstance(side, int) else str(side or f"side{axis}") for axis, side in enumerate(shape)]
    example = [side if isinstance(side, int) else int(axis == 0) for axis, side in enumerate(sides)]
    tasks = {
        task: {"output": output, "channels": _channels(shapes[output])} for task, output in chosen.items()
    }
    return {"tasks": tasks, "inputs": {name: {"task": None, "shape": sides, "example": example}}}


def output_names(about: Mapping[str, Any]) -> list[str]:
    """The output of each task; in files of ours it has the task's name."""
    return [facts.get("output", task) for task, facts in about["tasks"].items()]


def _channels(shape: Sequence[Any]) -> int | None:
    return shape[1] if len(shape) > 1 and isinstance(shape[1], int) else None
