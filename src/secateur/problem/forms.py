"""What loaders and models give, held against the form expected; what is of another gets one sentence with the remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, cast

from torch import Tensor, nn

from secateur.problem.called import Called
from secateur.problem.culprit import is_own
from secateur.problem.hints import hint_of
from secateur.problem.remedied import RemediedError

_FORM = (RuntimeError, TypeError, ValueError, IndexError, KeyError, AttributeError, NotImplementedError)
"""What Python and torch raise where an argument is of another form; exactly these, not what derives from them."""

_INPUT = "an input is one tensor, or several by their names"
_WRAP = "Let its forward pass do so, or name a module of your own around it."


def described(value: Any, depth: int = 2) -> str:
    """A value in a few words: a tensor by its shape and type, what holds others by them."""
    if isinstance(value, Tensor):
        return f"Tensor {tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
    name = type(value).__name__
    if isinstance(value, Mapping):
        found = cast(Mapping[Any, Any], value)
        items = [
            f"{k}: {described(v, depth - 1)}" if depth > 0 else str(k) for k, v in list(found.items())[:6]
        ]
        return f"{name} {{{', '.join(items)}{', ...' if len(found) > 6 else ''}}}"
    if isinstance(value, (tuple, list)):
        parts = cast(list[Any], value)
        items = [described(part, depth - 1) for part in parts[:4]] if depth > 0 else []
        inside = f" ({', '.join(items)}{', ...' if len(parts) > len(items) else ''})" if items else ""
        return f"{name} of {len(parts)}{inside}"
    return name


def taken_apart(
    found: Any, tasks: Iterable[str], where: str, unpacked: bool
) -> tuple[Any, Mapping[str, Any]]:
    """A batch as ``(x, {task: target})``, without targets that are None or hold no sample.

    Args:
        found: What the loader gave, or what ``unpack`` made of it.
        tasks: Their names.
        where: Of which data.
        unpacked: Whether ``unpack`` made it.

    Raises:
        ValueError: If it is of another form, or names a task that there is not.
    """
    names = list(tasks)
    pair = isinstance(found, (tuple, list)) and len(cast(list[Any], found)) == 2
    if not pair or not isinstance(found[1], Mapping):
        who = "Problem: unpack returned" if unpacked else f"{where} gave"
        remedy = (
            "Return that."
            if unpacked
            else f"Say how to take it apart: Problem(..., unpack={_unpack(found, names)})."
        )
        raise RemediedError(
            f"{who} {described(found)}; a batch is (x, {{task: target}}) with the tasks {sorted(names)}.",
            remedy,
            "Let the loaders of the data give that.",
        )
    x, targets = cast(tuple[Any, Mapping[str, Any]], found)
    if is_unnamed(x):
        who = "Problem: unpack returned" if unpacked else f"{where} gave"
        keys = [f"x{place}" for place in range(len(x))]
        held = ", ".join(f"{key!r}: b[0][{place}]" for place, key in enumerate(keys))
        name_them = f"Name them: Problem(..., unpack=lambda b: ({{{held}}}, b[1]),"
        if unpacked:
            name_them = (
                f"Let it return {{{', '.join(f'{key!r}: ...' for key in keys)}}}, and say Problem(...,"
            )
        given = ", ".join(f"x[{key!r}]" for key in keys)
        raise RemediedError(
            f"{who} {described(x)} as x; {_INPUT}.",
            f"{name_them} call=lambda model, x: model({given})).",
            "Let the loaders of the data give that, and the model's forward pass take it.",
        )
    check_names(targets, names)
    return x, {task: t for task, t in targets.items() if not _is_missing(t)}


def is_unnamed(x: Any) -> bool:
    """Whether an input is several tensors without names; packed sequences and graphs, which move by themselves, are one input."""
    return isinstance(x, (tuple, list)) and not callable(getattr(cast(Any, x), "to", None))


def check_names(targets: Mapping[str, Any], tasks: Iterable[str]) -> None:
    """Raises ValueError if a target has no task."""
    names = sorted(tasks)
    if unknown := sorted(str(task) for task in targets if task not in names):
        close = get_close_matches(unknown[0], names, 1)
        meant = f" Is {unknown[0]!r} meant to be {close[0]!r}?" if close else ""
        raise ValueError(
            f"The targets name {unknown}, but the problem's tasks are {names}; add a Task for it or drop the target.{meant}"
        )


def selected(
    predictions: Any, targets: Any, tasks: Iterable[str], who: str = "The model"
) -> dict[str, Tensor]:
    """Of what a model returned the predictions of the tasks that have a target in this batch; the others are ignored.

    Raises:
        ValueError: If a target has no task, a prediction is missing or no tensor, or the model returned no dict.
    """
    names = list(tasks)
    if not isinstance(targets, Mapping):
        raise ValueError(
            f"The targets are {described(targets)}; a batch is (x, {{task: target}}) with the tasks {sorted(names)}."
        )
    wanted = [task for task, target in cast(Mapping[str, Any], targets).items() if not _is_missing(target)]
    remedy = f"Say which is which: Problem(..., call={_call(predictions, names)})."
    if not isinstance(predictions, Mapping):
        wrong = f"{who} returned {described(predictions)}; it must return a dict {{task: prediction}} with the tasks {sorted(names)}."
        raise RemediedError(wrong, remedy, _WRAP)
    check_names(dict.fromkeys(wanted), names)
    found = cast(Mapping[str, Any], predictions)
    if missing := sorted(task for task in wanted if task not in found):
        raise RemediedError(
            f"The targets name {missing}, but {who[0].lower()}{who[1:]} returned only {described(found)}; name the model's "
            "outputs after the tasks, or leave out a task that it has no output for.",
            remedy,
            _WRAP,
        )
    for task in wanted:
        if not isinstance(found[task], Tensor):
            wrong = f"{who} returned {described(found[task])} for task {task!r}; a prediction is one tensor."
            raise RemediedError(wrong, remedy, _WRAP)
    return {task: found[task] for task in names if task in wanted}


def unpacked(unpack: Callable[[Any], Any], batch: Any) -> Any:
    """``unpack(batch)``.

    Raises:
        ValueError: If it does not take this batch, with what it says.
    """
    try:
        return unpack(batch)
    except _FORM as error:
        if type(error) not in _FORM or is_own(error):
            raise
        raise ValueError(
            f"unpack does not take the batch, {described(batch)} ({type(error).__name__}: {_line(error)}); it must return "
            "(x, {task: target})."
        ) from error


def fed(network: nn.Module, x: Any) -> Any:
    """``network(x)``; an error of the user's own code is left as it is, with a note of what went in.

    Raises:
        ValueError: If the network does not take it, with what it says and the remedy.
    """
    try:
        return network(x)
    except _FORM as error:
        if type(error) not in _FORM:
            raise
        if (hint := hint_of(network, x, error)) is None:
            error.add_note(f"This was raised in the model's forward pass of {described(x)}.")
            raise
        who = "Problem: call, or the model in it," if isinstance(network, Called) else "The model"
        raise RemediedError(
            f"{who} does not take {described(x)} ({type(error).__name__}: {_line(error)}).", *hint
        ) from error


def lost(task: str, loss: Any, prediction: Tensor, target: Any) -> Tensor:
    """The loss of one task.

    Raises:
        ValueError: If it does not take them, or gives something else than a scalar.
    """
    try:
        value = loss(prediction, target)
    except _FORM as error:
        if type(error) not in _FORM or is_own(error):
            raise
        other = "Give a Task a loss(prediction, target) for these, or change the target in"
        raise RemediedError(
            f"The loss of task {task!r} does not take the prediction, {described(prediction)}, with the target, "
            f"{described(target)} ({type(error).__name__}: {_line(error)}).",
            f"{other} Problem(..., unpack=...).",
            f"{other} the data set.",
        ) from error
    if not isinstance(value, Tensor) or value.numel() != 1:
        raise ValueError(
            f"The loss of task {task!r} gave {described(value)}; it must give a scalar tensor, such as the mean over the batch."
        )
    return value.reshape(())


def _is_missing(target: Any) -> bool:
    return target is None or (isinstance(target, Tensor) and target.numel() == 0)


def _unpack(found: Any, tasks: list[str]) -> str:
    if isinstance(found, Mapping):
        keys = list(cast(Mapping[str, Any], found))
        x = next((key for key in keys if key not in tasks), "x")
        others = [key for key in keys if key != x and key not in tasks]
        names = {t: t if t in keys else others[0] if others else t for t in tasks}
        return f"lambda b: (b[{x!r}], {{{', '.join(f'{t!r}: b[{k!r}]' for t, k in names.items())}}})"
    if isinstance(found, (tuple, list)):
        return f"lambda b: (b[0], {{{', '.join(f'{t!r}: b[{i + 1}]' for i, t in enumerate(tasks))}}})"
    return f"lambda b: (b.x, {{{', '.join(f'{t!r}: b.{t}' for t in tasks)}}})"


def _call(found: Any, tasks: list[str]) -> str:
    if isinstance(found, (tuple, list)):
        return f"lambda model, x: dict(zip({tuple(tasks)}, model(x)))"
    if isinstance(found, Mapping):
        keys = list(cast(Mapping[Any, Any], found))
        free = [key for key in keys if key not in tasks] or ["..."]
        names = {t: t if t in keys else free.pop(0) if len(free) > 1 else free[0] for t in tasks}
        return f"lambda model, x: {{{', '.join(f'{t!r}: model(x)[{k!r}]' for t, k in names.items())}}}"
    if isinstance(found, Tensor):
        return f"lambda model, x: {{{', '.join(f'{t!r}: model(x)' for t in tasks)}}}"
    return f"lambda model, x: {{{', '.join(f'{t!r}: model(x).{t}' for t in tasks)}}}"


def _line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), "")[:200]
