"""What a callback is: hooks around the steps of ``fit``. The base class does nothing."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from secateur.training.callbacks.course import Course, Results


class Callback:
    """Something that happens beside the steps of a training: ``fit(..., callbacks=[EarlyStopping("depth.rel")])``.

    ``fit`` calls, in this order: ``start``; ``load_state_dict`` when a stopped run goes on; ``begin``; for each step ``before_step``, as soon as
    there are gradients, and ``after_step``; ``logged`` for each new row of the history; ``validated`` for each validation, inside of
    ``validating``; after the last step ``finish``, while the method is still at work, and ``end``, when the model is plain; or
    ``failed``, whatever raised. All get the :class:`Course`, which says where training is and stops it.

    Of several processes each has its own callbacks, and all hooks are called on all of them.
    """

    single: bool = False
    """Whether one training takes no more than one of this class."""
    validates: bool = False
    """Whether it looks at validations, so that without validation data it makes no sense."""
    decides: bool = True
    """Whether what training ends with can depend on it: then a stopped run goes on only with the same."""
    turn: int = 0
    """Callbacks of a lower turn act first; of the same, in the order in which they are given."""

    def start(self, course: Course) -> None:
        """Before the first step; forgets any training before. What does not fit is refused here, by a ValueError."""

    def begin(self, course: Course) -> None:
        """The first step is next, or that after ``course.step`` steps; what must be there by now and is not, is refused here."""

    def before_step(self, course: Course) -> None:
        """The gradients are there; the optimizer has not stepped."""

    def after_step(self, course: Course, losses: Mapping[str, Tensor]) -> None:
        """A step is done. ``losses``: task to its loss, a scalar, of the last batch; to read one waits for the device."""

    def logged(self, course: Course, row: Mapping[str, Any]) -> None:
        """The history has a new row; see :class:`secateur.History`."""

    def validating(self, course: Course) -> AbstractContextManager[Any]:
        """Around each validation, for what is to be validated in place of the weights as they are, such as an average."""
        return nullcontext()

    def validated(self, course: Course, metrics: Results) -> None:
        """A validation is done, the weights that were validated still in place. ``metrics``: task to metric to value."""

    def finish(self, course: Course) -> None:
        """The last step is done, the method is still at work. Here weights may be exchanged for others."""

    def end(self, course: Course) -> None:
        """All is done; the model is plain, with exact zeros."""

    def failed(self, course: Course, error: BaseException) -> None:
        """Something raised, Ctrl-C included; the model is plain."""

    def state_dict(self) -> dict[str, Any]:
        """All that resumption needs: tensors and plain values only."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up :meth:`state_dict`, after ``start``."""
