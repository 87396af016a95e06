"""An input that the model does not take is said in our words, with what was given, where it failed and the remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from problems import equal, two_heads, weights
from secateur import Budget, GroupLasso, Problem, bench, compact, export, fit, load, prune, save

QUICK: Any = {"steps": 0, "rounds": 1, "batches": 1, "repair": 0, "progress": False}
VERBS: dict[str, Callable[..., Any]] = {
    "compact": lambda problem, x, path: compact(problem.model, x),
    "export": lambda problem, x, path: export(problem.model, x, path),
    "bench": lambda problem, x, path: bench({"net": problem.model}, x, ["torch"], repeats=1),
    "prune": lambda problem, x, path: prune(problem, Budget(macs=0.6), on=x, **QUICK),
}
WRONG = {
    "channels": torch.randn(1, 5, 8, 8),
    "dimensions": torch.randn(3, 8, 8),
    "whole numbers": torch.ones(1, 3, 8, 8, dtype=torch.int64),
    "no sample": torch.randn(0, 3, 8, 8),
    "a mapping": {"x": torch.randn(1, 3, 8, 8)},
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_input_is_named(verb: str, wrong: str, tmp_path: Path) -> None:
    problem = two_heads()
    before = weights(problem)
    with pytest.raises(
        ValueError, match=rf"^{verb}: .*{'no sample' if wrong == 'no sample' else 'the model fails on'}"
    ) as told:
        VERBS[verb](problem, WRONG[wrong], tmp_path / "net.pt2")
    shape = next(iter(WRONG[wrong].values())) if isinstance(WRONG[wrong], dict) else WRONG[wrong]
    assert str(tuple(shape.shape)) in str(told.value)
    assert "the data give Tensor (1, 3, 8, 8) float32" in str(told.value) or "that the model takes" in str(
        told.value
    )
    assert wrong == "no sample" or "problems.py:" in str(told.value)  # where
    assert equal(before, weights(problem))
    assert problem.model.training
    assert not list(tmp_path.iterdir())


def compiled(problem: Problem) -> Problem:
    model = torch.compile(problem.model, backend="eager")
    return Problem(model, problem.tasks, problem.train, problem.val)  # pyright: ignore[reportArgumentType]


def test_a_compiled_model_is_trained_and_deployed_and_prune_asks_for_the_one_inside(tmp_path: Path) -> None:
    problem = two_heads()
    wrapped = compiled(problem)
    x, _ = next(iter(problem.train))
    fit(wrapped, GroupLasso(density=0.5), steps=10, progress=False)
    small, other = compact(wrapped.model, x), compact(problem.model, x)
    assert type(small) is type(problem.model)
    predicted = other.eval()(x)
    assert all(torch.equal(value, predicted[task]) for task, value in small.eval()(x).items())
    assert export(wrapped.model, x, tmp_path / "net.pt2").is_file()
    with pytest.raises(ValueError, match=r"prune: model is compiled, .* give the network .*model\._orig_mod"):
        prune(wrapped, Budget(macs=0.6), **QUICK)


def test_weights_of_a_compiled_model_have_plain_names(tmp_path: Path) -> None:
    problem, plain = two_heads(seed=1), two_heads()
    load(plain.model, save(compiled(problem).model, tmp_path / "net.safetensors"))
    assert equal(weights(plain), weights(problem))
    other = two_heads()
    load(compiled(other).model, tmp_path / "net.safetensors")
    assert equal(weights(other), weights(problem))


def test_a_checkpoint_of_a_compiled_model_is_resumed_by_the_plain_one(tmp_path: Path) -> None:
    path, first, second = tmp_path / "c.pt", two_heads(), two_heads()
    fit(compiled(first), steps=4, checkpoint=path, progress=False)
    fit(second, steps=4, checkpoint=path, progress=False)
    assert equal(weights(first), weights(second))
