"""A checkpoint whose parts are of other shapes than what they replace is refused by name, and nothing is changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from problems import equal, two_heads, weights
from secateur import AdaptiveWeighting, GradualMagnitude, GroupLasso, Problem, SoftThreshold, fit
from secateur.problem import rng_state
from secateur.storage import load_weights
from secateur.storage.outline import outline
from secateur.training.resuming import resumption

Change = Callable[[dict[str, Any]], object]


def put(*path: Any, value: Any) -> Change:
    """Puts something else at a place in the state; ``...`` takes it away."""

    def change(state: Any) -> None:
        *inner, last = path
        for key in inner:
            state = state[key]
        if value is ...:
            del state[last]
        else:
            state[last] = value(state[last]) if callable(value) else value

    change.__name__ = ".".join(map(str, path))
    return change


MOMENT = ("optimizer", "state", 0, "exp_avg")
CHANGES = [
    (put(*MOMENT, value=torch.zeros(1)), r"optimizer\.state\.0\.exp_avg is float32 \(1,\)"),
    (put(*MOMENT, value=lambda t: t.double()), r"optimizer\.state\.0\.exp_avg is float64"),
    (put(*MOMENT, value=lambda t: t.to_sparse()), r"optimizer\.state\.0\.exp_avg is float32.*sparse|damaged"),
    (put(*MOMENT, value=None), r"optimizer\.state\.0\.exp_avg is NoneType"),
    (put(*MOMENT, value=...), r"optimizer\.state\.0\.exp_avg is missing"),
    (put("optimizer", "state", 0, "step", value=torch.zeros(7)), r"optimizer\.state\.0\.step is float32 \(7,\)"),
    (put("optimizer", "state", 0, "step", value=3), r"optimizer\.state\.0\.step is int"),
    (put("optimizer", "state", 0, "more", value=torch.zeros(7)), r"optimizer\.state\.0\.more"),
    (put("optimizer", "state", 999, value={"exp_avg": torch.zeros(1)}), r"optimizer\.state\.999"),
    (put("optimizer", "param_groups", 0, "betas", value="ab"), r"optimizer\.param_groups"),
    (put("optimizer", "param_groups", 0, "params", value=lambda p: p[:-1]), r"optimizer\.param_groups\.0\.params"),
    (put("optimizer", "param_groups", value=lambda g: g * 2), "2 groups|optimizer.param_groups"),
    (put("pruning", "weighting", "levels", value=torch.zeros(1)), r"weighting\.levels is float32 \(1,\)"),
    (put("pruning", "method", "offset", value={}), r"method\.offset"),
    (put("pruning", "method", "masks", value={"trunk.0.weight": torch.ones(1, dtype=torch.bool)}), r"method\.masks"),
    (put("pruning", "done", value=99), "step 99 of 8"),
    (put("rng", "torch", value=torch.zeros(7, dtype=torch.uint8)), "rng|RNG"),
    (put("rng", "numpy", 2, value=10**6), "NumPy|rng"),
    (put("model", "trunk.0.weight", value=torch.ones(1)), r"trunk\.0\.weight"),
    (put("model", "trunk.0.weight", value=lambda t: t.double()), r"trunk\.0\.weight"),
    (put("model", "trunk.0.weight", value=3), r"trunk\.0\.weight|no model"),
    (put("model", value=[]), "model"),
    (put("stream", "used", value="x"), "stream"),
    (put("ledger", "sums", value=3), "ledger"),
    (put("step", value=5), "of step 5, and its pruning of step 4"),
    (put("step", value=-4), "step -4, which is none"),
    (put("step", value=[]), "step"),
    (put("step", value=...), "step"),
    (put("rows", value="{}"), "no list of rows"),
    (put("rows", value="[3]"), "no list of rows"),
    (put("seconds", value=-1.0), "took -1.0 seconds"),
    (put("seconds", value=float("nan")), "took nan seconds"),
    (put("rng", "numpy", 1, value=lambda keys: keys - 2**40), "none of 32 bits"),
    (put("rng", "numpy", 3, value=-1), "none of 32 bits"),
    (put("stream", "used", value=-1), "no place in the data"),
    (put("stream", "epoch", "number", value=-3), "no place in the data"),
]  # fmt: skip


def train(problem: Problem, path: Path) -> None:
    fit(problem, SoftThreshold(0.3), AdaptiveWeighting(), steps=8, checkpoint=path, checkpoint_every=4)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "c.pt"
    train(two_heads(), path)
    return path.with_name("c.before.pt").read_bytes()


@pytest.mark.parametrize("forged", [False, True], ids=["edited", "with its outline"])
@pytest.mark.parametrize(("change", "told"), CHANGES, ids=[c.__name__ for c, _ in CHANGES])
def test_states_of_other_shapes(
    change: Change, told: str, forged: bool, whole: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "c.pt"
    path.write_bytes(whole)
    state = torch.load(path, weights_only=True)
    state["rng"]["numpy"] = list(state["rng"]["numpy"])
    change(state)
    state["rng"]["numpy"] = tuple(state["rng"]["numpy"])
    if forged:
        del state["outline"]
        state["outline"] = json.dumps(outline(state))
        if "used" in change.__name__ or change.__name__.startswith("ledger"):
            told = path.name
    elif change.__name__ in ("pruning.done", "rng.numpy.2"):
        pytest.skip("its kind is the same")
    torch.save(state, path)
    problem = two_heads()
    untouched = weights(problem)
    with pytest.raises(ValueError, match=told) as raised:
        train(problem, path)
    assert str(path) in str(raised.value)
    assert equal(untouched, weights(problem))


def test_a_state_that_is_missing_for_one_parameter(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    path.write_bytes(whole)
    state = torch.load(path, weights_only=True)
    del state["optimizer"]["state"][2]
    torch.save(state, path)
    with pytest.raises(ValueError, match=r"optimizer\.state\.2\.exp_avg is missing"):
        train(two_heads(), path)


def test_moments_laid_out_otherwise_are_put_right(tmp_path: Path) -> None:
    """A fused step takes the memory of its state as it lies; what is expanded or transposed there would be misread."""
    straight, resumed, path = two_heads(), two_heads(), tmp_path / "c.pt"
    fit(straight, steps=8, checkpoint=path, checkpoint_every=4)
    path.with_name("c.before.pt").replace(path)
    state = torch.load(path, weights_only=True)
    for moments in state["optimizer"]["state"].values():
        for name, value in moments.items():
            if value.dim() == 4:
                moments[name] = value.to(memory_format=torch.channels_last)
    torch.save(state, path)
    fit(resumed, steps=8, checkpoint=path, checkpoint_every=4)
    assert equal(weights(straight), weights(resumed))


OPTIMIZERS: dict[str, Any] = {
    "sgd": lambda groups: torch.optim.SGD(groups, lr=1e-2, momentum=0.9),
    "plain sgd": lambda groups: torch.optim.SGD(groups, lr=1e-2),
    "amsgrad": lambda groups: torch.optim.AdamW(groups, lr=1e-2, amsgrad=True),
    "adafactor": lambda groups: torch.optim.Adafactor(groups, lr=1e-2),
    "rmsprop": lambda groups: torch.optim.RMSprop(groups, lr=1e-2, centered=True, momentum=0.5),
    "nadam": lambda groups: torch.optim.NAdam(groups, lr=1e-2),
}


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
@pytest.mark.parametrize(
    "method",
    [lambda: GroupLasso(strength=1e-3, metric="euclidean"), lambda: GradualMagnitude(0.3)],
    ids=["lasso", "magnitude"],
)
def test_every_optimizer_goes_on(make: Any, method: Any, tmp_path: Path) -> None:
    straight, resumed, path = two_heads(), two_heads(), tmp_path / "c.pt"
    for problem in (straight, resumed):
        fit(problem, method(), steps=8, checkpoint=path, checkpoint_every=5, optimizer=make)
        if problem is straight:
            path.with_name("c.before.pt").replace(path)
    assert equal(weights(straight), weights(resumed))


def test_a_checkpoint_of_another_number_of_processes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, problem = tmp_path / "c.pt", two_heads()
    fit(two_heads(), steps=2, checkpoint=path, progress=False)
    before = weights(problem)
    monkeypatch.setattr("lightning_fabric.Fabric.world_size", 2)
    with pytest.raises(
        ValueError,
        match=r"of another training: processes is 1 there and 2 here \(start as many .*\)\. Ask for the same",
    ):
        fit(problem, steps=2, checkpoint=path, progress=False)
    assert equal(before, weights(problem))


def test_what_was_written_with_a_gpu_is_read_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every tensor in the files says that it lay on a GPU, and there are the states of the generators of three."""
    problem, other, path = two_heads(), two_heads(seed=1), tmp_path / "c.pt"
    with monkeypatch.context() as patch:
        patch.setattr("torch.serialization.location_tag", lambda storage: "cuda:1")
        patch.setattr(resumption, "rng_state", lambda: rng_state() | {"cuda": [torch.get_rng_state()] * 3})
        fit(problem, GroupLasso(density=0.5), steps=4, checkpoint=path, progress=False)
        torch.save(problem.model.state_dict(), tmp_path / "w.pt")
    with pytest.raises(RuntimeError, match="CUDA device"):
        torch.load(path, weights_only=True)
    fit(other, GroupLasso(density=0.5), steps=4, checkpoint=path, progress=False)
    assert equal(weights(problem), weights(other))
    third = two_heads(seed=2)
    load_weights(third.model, tmp_path / "w.pt")
    assert equal(weights(problem), weights(third))
