"""Several tensors without names are no input: every verb says so, with how to name them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from problems import two_heads
from secateur import (
    Budget,
    Problem,
    Pruning,
    SoftThreshold,
    bench,
    compact,
    evaluate,
    export,
    fit,
    prune,
)


def test_several_tensors_without_names_are_refused_by_every_verb(tmp_path: Path) -> None:
    """Before this, training took them and all that looks at one sample failed."""
    plain, call = two_heads(), lambda model, x: model(x[0] + x[1])
    data = [((x, x), t) for x, t in plain.train]
    problem = Problem(plain.model, plain.tasks, data, data, call=call)
    own = Problem(plain.model, plain.tasks, data, unpack=lambda b: b, call=call)
    x: Any = data[0][0]
    for use in (
        lambda: fit(problem, steps=1),
        lambda: fit(own, steps=1),
        lambda: Pruning(problem, SoftThreshold(0.2), steps=1).__enter__(),
        lambda: evaluate(problem, "val"),
        lambda: prune(problem, Budget(macs=0.5), progress=False),
        lambda: compact(plain.model, x, call=call),
        lambda: export(plain.model, x, tmp_path / "net.onnx", call=call),
        lambda: bench({"a": plain.model}, x, call=call),
    ):
        with pytest.raises(ValueError, match=r"tuple of 2 \(Tensor .*(an input is one|give a) tensor, or "):
            use()
    named = Problem(
        plain.model,
        plain.tasks,
        data,
        data,
        unpack=lambda b: ({"x0": b[0][0], "x1": b[0][1]}, b[1]),
        call=lambda model, x: model(x["x0"] + x["x1"]),
    )
    assert set(evaluate(named, "val")) == set(plain.tasks)
