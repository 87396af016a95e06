"""Metrics that are plain functions, by their names, and their direction."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MeanAbsoluteError, MetricCollection

from problems import batches, two_heads
from secateur import Problem, Task, evaluate, fit
from secateur.measures import higher_is_better
from secateur.measures.metrics import MeanOf


def hits(prediction: Tensor, target: Tensor) -> Tensor:
    return (prediction.argmax(1) == target).float().mean()


def unlike() -> list:
    """Batches of 4, 3, 2 and 1 images."""
    return [
        (x[: 4 - i], {task: target[: 4 - i] for task, target in t.items()})
        for i, (x, t) in enumerate(batches(4))
    ]


def problem(metrics: Any, data: list | None = None) -> Problem:
    made = two_heads()
    tasks = {
        "colour": Task(F.cross_entropy, metrics),
        "shade": Task(F.l1_loss, [F.l1_loss, MeanAbsoluteError()]),
    }
    return Problem(made.model, tasks, made.train, val=data or unlike())


def test_a_function_is_a_mean_over_the_images() -> None:
    own = problem(hits)
    x = torch.cat([x for x, _ in unlike()])
    truth = {task: torch.cat([t[task] for _, t in unlike()]) for task in ("colour", "shade")}
    with torch.no_grad():
        found = own.model.eval()(x)
    values = evaluate(own, "val")
    assert values["colour"] == {"hits": pytest.approx(float(hits(found["colour"], truth["colour"])))}
    assert values["shade"]["l1_loss"] == pytest.approx(values["shade"]["MeanAbsoluteError"], rel=1e-5)
    assert values["shade"]["l1_loss"] == pytest.approx(float(F.l1_loss(found["shade"], truth["shade"])))


def test_functions_that_agree_on_the_first_batch_are_kept_apart() -> None:
    count: dict[str, int] = {"a": 0}

    def first(prediction: Tensor, target: Tensor) -> float:
        count["a"] += 1
        return 1.0 if count["a"] == 1 else 0.0

    found = evaluate(problem({"first": first, "always": lambda p, t: 1.0}), "val")["colour"]
    assert found == {"first": pytest.approx(0.4), "always": 1.0}


def test_batches_without_a_valid_label_do_not_count() -> None:
    data = unlike()
    data[1][1]["shade"].fill_(torch.nan)

    def masked(prediction: Tensor, target: Tensor) -> Tensor:
        return (prediction - target)[target.isfinite()].abs().mean()

    own = problem(hits, data)
    shade = {"error": masked, "broken": lambda p, t: p.mean() * torch.nan}
    own = Problem(own.model, {**own.tasks, "shade": Task(masked, shade)}, own.train, data)
    others = Problem(own.model, own.tasks, own.train, [data[0], *data[2:]])
    one, two = evaluate(own, "val")["shade"], evaluate(others, "val")["shade"]
    assert one["error"] == two["error"]
    assert one["error"] == one["error"]
    assert one["broken"] != one["broken"]


def test_the_direction_is_said_where_it_matters() -> None:
    own = problem(
        {"hits": MeanOf(hits, higher_is_better=True), "loss": MeanOf(F.cross_entropy, higher_is_better=False)}
    )
    assert higher_is_better({"colour": own.tasks["colour"]}) == {"colour": {"hits": True, "loss": False}}
    match = r"'hits' of task 'colour' .*write MeanOf\(hits, higher_is_better=True or False\) of secateur\.measures\.metrics"
    with pytest.raises(ValueError, match=match):
        higher_is_better({"colour": problem(hits).tasks["colour"]})

    def mine(prediction: Tensor, target: Tensor) -> float:
        return 0.0

    mine.higher_is_better = False  # pyright: ignore[reportFunctionMemberAccess]
    assert higher_is_better({"colour": Task(F.cross_entropy, mine)}) == {"colour": {"mine": False}}


def test_collections_and_single_metrics_go_by_their_names() -> None:
    assert set(Task(F.l1_loss, MeanAbsoluteError()).metrics) == {"MeanAbsoluteError"}
    assert set(Task(F.l1_loss, MetricCollection({"mae": MeanAbsoluteError()})).metrics) == {"mae"}
    fit(problem([hits]), steps=2, validate_every=1)


@pytest.mark.parametrize(
    ("metric", "match"),
    [
        (
            lambda p, t: p,
            r"metrics of task 'colour' .*it gave Tensor \(4, 5, 8, 8\) .*it must give one number",
        ),
        (lambda p, t: "much", "task 'colour' .*it gave str"),
        (lambda p, t: (p - t).mean(), r"metrics of task 'colour' do not take the prediction, Tensor \(4, 5"),
        (MeanAbsoluteError(), "metrics of task 'colour' do not take the prediction"),
    ],
)
def test_metrics_that_do_not_fit_name_the_task(metric: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        evaluate(problem({"odd": metric}), "val")


def test_a_number_of_numpy_is_a_number() -> None:
    metric = MeanOf(lambda prediction, target: np.abs(prediction.numpy() - target.numpy()).mean())
    metric.update(torch.ones(2, 3), torch.zeros(2, 3))
    assert float(metric.compute()) == 1.0
