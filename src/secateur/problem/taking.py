"""What a model says of an input that it does not take, in words: what was given, where it failed, and what to give."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from secateur.problem.culprit import place_of
from secateur.problem.forms import described, is_unnamed
from secateur.problem.problem import to_device
from secateur.problem.remedied import RemediedError
from secateur.problem.state import looking

_SHOWN = 300  # characters of an error of torch's


@contextmanager
def taking(verb: str, x: Any, name: str = "example", like: Any = None) -> Generator[None]:
    """Around a forward pass of ``x``: what raises there is said as a ValueError.

    Args:
        verb: Who says it.
        x: What is given to the model.
        name: Of the argument.
        like: What the data give, for the remedy; None where nobody knows.

    Raises:
        ValueError: If the forward pass fails, or there is no sample in ``x``.
    """
    fitting = "give one of the shape and dtype that the model takes, such as a batch of its data"
    remedy = (
        f"{fitting}; where model(x) does not do, say how by call=lambda model, x: {{...}}."
        if like is None
        else f"the data give {described(like)}; give one like that."
    )
    by_name = "it is a sample of the run's data, so check that model, data and size go together."
    if is_unnamed(x):
        raise RemediedError(
            f"{verb}: {name} is {described(x)};",
            "give a tensor, or {name: tensor}, which call=lambda model, x: ... may hand on as the model takes it.",
            by_name,
        )
    values: Iterable[Any] = x.values() if isinstance(x, Mapping) else [x]
    if any(isinstance(value, Tensor) and not value.numel() for value in values):
        raise RemediedError(f"{verb}: {name} is {described(x)}, which holds no sample;", remedy, by_name)
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever a user's code raises
        said = " ".join(str(error).split())
        said = f"{said[:_SHOWN]}..." if len(said) > _SHOWN else said
        raise RemediedError(
            f"{verb}: the model fails on {name}={described(x)}{place_of(error)} ({type(error).__name__}: {said});",
            remedy,
            by_name,
        ) from error


def check_takes(verb: str, model: nn.Module, x: Any, name: str = "example", like: Any = None) -> None:
    """Runs one forward pass in eval mode, on the model's device; modes and random state are left as they were.

    Args:
        model: As ``model(x)`` is called.
        verb, x, name, like: As of :func:`taking`.

    Raises:
        ValueError: If the model does not take ``x``; it says what to give.
    """
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    with taking(verb, x, name, like), looking(model), torch.no_grad():
        model.eval()  # the user's own may return nothing
        model(to_device(x, device))
