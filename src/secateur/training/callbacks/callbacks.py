"""The callbacks of one training, called in order; whatever one of them raises bears its name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, cast

from torch import Tensor

from secateur.storage import mismatches, named_tensors
from secateur.training.callbacks.callback import Callback
from secateur.training.callbacks.course import Course, Results
from secateur.training.resuming.identity import identity


class CallbackError(RuntimeError):
    """A callback raised; the message says which, where and what, and what it raised is the cause."""


class Callbacks:
    """Calls all in turn; use it in a ``with`` around the training, so that they hear of what raises.

    Args:
        given: In the user's order.

    Raises:
        ValueError: If one is no callback, is given twice, or there are two of a class of which one is enough.
    """

    def __init__(self, given: Iterable[Callback] = (), reference: Results | None = None) -> None:
        found = _checked(given)
        counts, named = Counter[str](), dict[str, Callback]()
        for callback in found:
            kind = type(callback).__name__
            counts[kind] += 1
            named[kind if counts[kind] == 1 else f"{kind} {counts[kind]}"] = callback
        self._all = dict(sorted(named.items(), key=lambda item: item[1].turn))
        self._reference, self._started = reference, list[str]()
        self._course: Course | None = None

    def __bool__(self) -> bool:
        return bool(self._all)

    def __enter__(self) -> Callbacks:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        for name in self._started if error is not None and self._course is not None else ():
            try:
                self._all[name].failed(cast(Course, self._course), cast(BaseException, error))
            except Exception as second:  # what raised first is what there is to say
                cast(BaseException, error).add_note(f"{name}.failed raised too: {second!r}")

    @property
    def validating_ones(self) -> list[str]:
        """Names of those that look at validations."""
        return [name for name, callback in self._all.items() if callback.validates]

    def identity(self) -> dict[str, Any]:
        """What of them decides the result, as plain values; before ``start``."""
        found = [identity(c, f"callback {name}") for name, c in self._all.items() if c.decides]
        return {key: value for own in found for key, value in own.items()}

    def start(self, course: Course, settings: Mapping[str, Any]) -> None:
        """Tells all of the training and its ``settings``; what they refuse they refuse here."""
        pruning = course.pruning
        parts = {**identity(pruning.method, "method"), **identity(pruning.weighting, "weighting")}
        course.reference, course.settings = (
            self._reference,
            {**parts, "steps": pruning.turns.steps, **settings},
        )
        self._course, self._started = course, []
        for name, callback in self._all.items():
            self._started.append(name)
            self._call(name, "start", partial(callback.start, course))

    def begin(self) -> None:
        """See :class:`Callback`, here and below."""
        self._each("begin", lambda callback, course: callback.begin(course))

    def before_step(self) -> None:
        """When there are gradients."""
        self._each("before_step", lambda callback, course: callback.before_step(course))

    def after_step(self, losses: Mapping[str, Tensor]) -> None:
        """With the losses of the last batch."""
        self._each("after_step", lambda callback, course: callback.after_step(course, losses))

    def logged(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """With each row."""
        for row in rows:
            self._each("logged", lambda callback, course, row=row: callback.logged(course, row))

    @contextmanager
    def validating(self) -> Generator[None]:
        """All contexts, one in the other."""
        with ExitStack() as stack:
            self._each("validating", lambda c, course: stack.enter_context(c.validating(course)))
            yield

    def validated(self, metrics: Results) -> None:
        """With the metrics."""
        self._each("validated", lambda callback, course: callback.validated(course, metrics))

    def stopping(self) -> bool:
        """Whether training stops, in any process; all must ask."""
        return bool(self._all) and cast(Course, self._course).stopping()

    def finish(self) -> None:
        """After the last step."""
        self._each("finish", lambda callback, course: callback.finish(course))

    def end(self) -> None:
        """When all is done."""
        self._each("end", lambda callback, course: callback.end(course))

    def state_dict(self) -> dict[str, Any]:
        """Name to state, and why training stops, if it does."""
        stopped = self._course.stopped if self._course else ""
        return {"stopped": stopped, "of": {name: c.state_dict() for name, c in self._all.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up :meth:`state_dict`; one that decides nothing may be new, or gone.

        Raises:
            ValueError: If the state of one that decides is missing, or one is not shaped as it is here.
        """
        course, held = cast(Course, self._course), state.get("of", {})
        named = named_tensors(course.problem.model)
        for name, callback in self._all.items():
            if name not in held:
                if callback.decides:
                    raise ValueError(f"it has no state of callback {name}; delete it")
                continue
            if wrong := list(mismatches(callback.state_dict(), held[name], named, f"callback {name}")):
                raise ValueError(f"the state cannot be taken up: {'; '.join(wrong[:3])}. Begin anew")
            self._call(name, "load_state_dict", partial(callback.load_state_dict, dict(held[name])))
        course.history.stopped = str(state.get("stopped", ""))

    def _each(self, hook: str, call: Callable[[Callback, Course], object]) -> None:
        for name, callback in self._all.items():
            self._call(name, hook, partial(call, callback, cast(Course, self._course)))

    def _call(self, name: str, hook: str, call: Callable[[], object]) -> None:
        try:
            call()
        except Exception as error:
            if hook in ("start", "begin") and isinstance(error, (ValueError, OSError, ImportError)):
                error.add_note(f"callback {name}")  # what is refused is said in its own words
                raise
            step = self._course.step if self._course else 0
            raise CallbackError(
                f"Callback {name} raised in {hook}, after step {step}: {type(error).__name__}: {error}"
            ) from error


def _checked(given: Any) -> list[Callback]:
    if isinstance(given, Callback):
        raise ValueError(f"callbacks is a {type(given).__name__}; give a list: callbacks=[...].")
    found: list[Callback] = []
    for callback in given:
        if not isinstance(callback, Callback):
            named = (
                f"the class {callback.__name__}" if isinstance(callback, type) else type(callback).__name__
            )
            made = f"; make one: {callback.__name__}(...)" if isinstance(callback, type) else ""
            raise ValueError(
                f"callbacks holds {named}{made}; give objects of classes that derive from Callback."
            )
        kind = type(callback).__name__
        if any(other is callback for other in found):
            raise ValueError(f"callbacks holds one {kind} twice; give it once.")
        if callback.single and any(type(other) is type(callback) for other in found):
            raise ValueError(
                f"callbacks holds two {kind}, which contradict each other; give the one that counts."
            )
        found.append(callback)
    return found
