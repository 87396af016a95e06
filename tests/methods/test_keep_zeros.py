"""Fine-tuning what was pruned."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch

from problems import equal, two_heads, weights
from secateur import GroupLasso, KeepZeros, SoftThreshold, fit, load, save
from secateur.problem import prunable


@pytest.mark.parametrize("first", [lambda: SoftThreshold(0.1), lambda: GroupLasso(density=0.5)])
def test_every_zero_stays_and_the_rest_trains(first, tmp_path: Path) -> None:
    problem, again = two_heads(), two_heads(seed=1)
    fit(problem, first(), steps=30)
    save(problem.model, tmp_path / "net.safetensors")
    load(again.model, tmp_path / "net.safetensors")
    before = {name: p.detach().clone() for name, p in prunable(problem.model).items()}
    method = KeepZeros()
    for own in (problem, again):
        fit(
            own,
            method,
            steps=20,
            optimizer=lambda groups: torch.optim.AdamW(groups, lr=0.01, weight_decay=0.1),
        )
    for name, weight in prunable(problem.model).items():
        assert torch.equal(weight == 0, before[name] == 0)
        assert not torch.equal(weight, before[name])
    assert equal(weights(problem), weights(again))
    assert method.density == pytest.approx(
        sum(int(p.count_nonzero()) for p in before.values()) / sum(p.numel() for p in before.values())
    )


def test_dense_training_of_a_sparse_network_warns() -> None:
    problem = two_heads()
    fit(problem, SoftThreshold(0.1), steps=10)
    with pytest.warns(
        UserWarning,
        match=r"90% of the weights are zero: those that get gradients will not stay zero, channels that are dead stay so\.",
    ):
        fit(problem, steps=2)
    assert sum(int(p.count_nonzero()) for p in prunable(problem.model).values()) > 1000, (
        "of 2952, where 295 were left"
    )


def test_a_network_without_zeros_is_trained_densely() -> None:
    dense, same = two_heads(), two_heads()
    fit(dense, steps=10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(same, KeepZeros(), steps=10)
    assert equal(weights(dense), weights(same))


def test_a_training_that_is_resumed_with_a_network_built_anew_keeps_the_zeros(tmp_path: Path) -> None:
    """A program that loads the pruned network only where there is no checkpoint yet, killed and started again."""
    whole, killed, again = two_heads(), two_heads(), two_heads()
    for problem in (whole, killed):
        fit(problem, SoftThreshold(0.1), steps=10)
    zeros = {name: p == 0 for name, p in prunable(whole.model).items()}

    def stop(rows: list) -> None:
        if rows[-1]["step"] >= 12:
            raise KeyboardInterrupt

    given = {"steps": 20, "checkpoint_every": 10, "log_every": 1}
    fit(whole, KeepZeros(), **given)
    with pytest.raises(KeyboardInterrupt):
        fit(killed, KeepZeros(), **given, checkpoint=tmp_path / "on.ckpt", on_log=stop)
    method = KeepZeros()
    fit(again, method, **given, checkpoint=tmp_path / "on.ckpt")
    assert method.density == pytest.approx(0.1, abs=1e-3)
    assert all(torch.equal(p == 0, zeros[name]) for name, p in prunable(again.model).items())
    assert equal(weights(again), weights(whole))
