"""Uncertainty weighting trains its s_t, which the published code forgot to."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from problems import equal, two_heads, weights
from secateur.training.fit import fit
from secateur.weighting import UncertaintyWeighting


class Stop(Exception):
    pass


def started(**options: object) -> UncertaintyWeighting:
    weighting = UncertaintyWeighting(**options)  # type: ignore[arg-type]
    weighting.start(two_heads(), 10)
    return weighting


def total(weighting: UncertaintyWeighting, losses: dict[str, Tensor]) -> Tensor:
    given = weighting(losses)
    return torch.as_tensor(sum(given[t] * losses[t] for t in losses) + weighting.penalty())


@pytest.mark.parametrize(("form", "factor"), [("published", 1.0), ("kendall", 0.5)])
def test_loss_and_gradient_by_hand(form: str, factor: float) -> None:
    weighting = started(init=1.0, form=form)
    losses = {"colour": torch.tensor(3.0, requires_grad=True), "shade": torch.tensor(0.5)}
    loss = total(weighting, losses)
    decay = torch.tensor(-1.0).exp()
    assert float(loss.detach()) == pytest.approx(factor * (3.5 * float(decay) + 2.0))
    loss.backward()
    (s,) = weighting.param_groups()[0]["params"]
    assert s.grad.tolist() == pytest.approx(
        [factor * (1 - 3.0 * float(decay)), factor * (1 - 0.5 * float(decay))]
    )
    assert losses["colour"].grad is not None
    assert float(losses["colour"].grad) == pytest.approx(factor * float(decay))


def test_the_optimum_is_the_inverse_loss() -> None:
    weighting = started()
    optimizer = torch.optim.Adam(weighting.param_groups(), lr=0.05, weight_decay=0.1)
    losses = {"colour": torch.tensor(4.0), "shade": torch.tensor(0.1)}
    for _ in range(800):
        optimizer.zero_grad()
        total(weighting, losses).backward()
        optimizer.step()
    found = {t: float(torch.as_tensor(w).detach()) for t, w in weighting(losses).items()}
    assert found == pytest.approx({"colour": 0.25, "shade": 10.0}, rel=1e-2)


def test_a_missing_task_gets_no_gradient() -> None:
    weighting = started()
    total(weighting, {"shade": torch.tensor(2.0)}).backward()
    (s,) = weighting.param_groups()[0]["params"]
    assert s.grad.tolist() == [0.0, -1.0]


def test_the_training_loop_trains_s_and_records_the_weights() -> None:
    weighting = UncertaintyWeighting()
    history = fit(two_heads(), weighting=weighting, steps=30, log_every=10)
    recorded = history.rows[-1]["weight"]
    assert len({*recorded.values()}) == 2
    assert all(value != 1.0 for value in recorded.values())
    loss = history.rows[-1]["loss"]
    assert recorded[min(loss, key=loss.get)] > recorded[max(loss, key=loss.get)]


def test_partial_labels_and_resumption_bit_for_bit(tmp_path: Path) -> None:
    straight = two_heads(partial=True)
    rows = fit(straight, weighting=UncertaintyWeighting(1.0), steps=20).rows

    def halt(rows: list) -> None:
        if rows[-1]["step"] >= 11:
            raise Stop

    options = {"steps": 20, "checkpoint": tmp_path / "c.pt", "checkpoint_every": 3}
    with pytest.raises(Stop):
        fit(two_heads(partial=True), weighting=UncertaintyWeighting(1.0), on_log=halt, **options)
    stopped = two_heads(partial=True)
    again = fit(stopped, weighting=UncertaintyWeighting(1.0), **options)
    assert equal(weights(straight), weights(stopped))
    assert again.rows == rows
