"""A count that is no whole number is refused by name, in every public place that takes one; True and False are none."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_origin

import numpy as np
import pytest
import torch
from torch import nn

from problem.public_arguments import public_arguments
from problems import two_heads
from secateur import (
    Budget,
    Distillation,
    EarlyStopping,
    Equal,
    OneShot,
    Pruning,
    RigL,
    Snapshots,
    SoftThreshold,
    Task,
    Tracker,
    bench,
    compact,
    evaluate,
    export,
    fit,
    overlap,
    prune,
)
from secateur import data as sets
from secateur.budget import repair
from secateur.data.captions.vocabulary import Vocabulary
from secateur.deployment.bench import Single, layer_ms, weights_ms
from secateur.measures import metrics, sensitivity
from secateur.pruning import Pattern, WarmUp, check_density, select, staircase, task_scores
from secateur.runs import Devices, evaluate_file
from secateur.runs.search import search
from secateur.runs.study import Trainer, Where, seeds_of
from secateur.training import check_floors, recalibrate
from secateur.zoo import deeplab_resnet34, shared_bottom, video_captioner

HERE = Path(__file__).parent
ROOMS = ("methods", "weighting", "measures", "measures.metrics", "data", "training", "zoo")
NEEDED: dict[Any, Callable[..., Any]] = {  # how to call what cannot be called by the count alone
    Pruning: lambda **count: Pruning(two_heads(), **{"steps": 2, **count}),
    Snapshots: lambda **count: Snapshots(HERE, **{"every": 2, **count}),
    EarlyStopping: lambda **count: EarlyStopping("shade", **count),
    Tracker: lambda **count: Tracker("tensorboard", **count),
    check_floors: lambda **count: check_floors(two_heads(), OneShot(0.5), {}, **count),
    sets.captions: lambda **count: sets.captions(root=str(HERE), **count),
    evaluate: lambda **count: evaluate(two_heads(), "val", **count),
    metrics.CrossEntropy: lambda **count: metrics.CrossEntropy(**{"classes": 2, **count}),
    metrics.DepthError: lambda **count: metrics.DepthError("delta", **count),
    metrics.MeanIoU: lambda **count: metrics.MeanIoU(**{"classes": 2, **count}),
    metrics.PixelAccuracy: lambda **count: metrics.PixelAccuracy(**{"classes": 2, **count}),
    overlap: lambda **count: overlap(two_heads(), **count),
    sensitivity: lambda **count: sensitivity(two_heads(), **count),
    sets.Loading: lambda **count: sets.Loading(**{"size": (8, 8), "batch": 1, "seed": 0, **count}),
    sets.rooms: lambda **count: sets.rooms(**{"train_count": 16, "val_count": 1, "test_count": 1, **count}),
    sets.stories: lambda **count: sets.stories(**{"train_count": 16, "val_count": 1, "test_count": 1, **count}),
    video_captioner: lambda **count: video_captioner({"caption": 9}, **count),
}  # fmt: skip
FILES = {sets.celebamask, sets.cityscapes, sets.domains, sets.hf_images, sets.nyuv2, sets.taskonomy}
RESULTS = {
    "Convolution",
    "Course",
    "Data",
    "History",
    "TooFewError",
    "Tracked",
    "Use",
    "recalibrate",
}  # and what is looked at below


def is_count(kind: Any) -> bool:
    kinds = get_args(kind) if get_origin(kind) not in (tuple, list, dict) else ()
    return kind is int or (int in kinds and float not in kinds and type(None) in kinds)


def taking_counts() -> dict[str, tuple[Any, str]]:
    found = public_arguments(ROOMS)
    asked = [one for one in found if one[0] not in RESULTS and one[1] not in FILES and is_count(one[3])]
    return {f"{public}.{name}": (thing, name) for public, thing, name, _ in asked}


TAKING = taking_counts()
ELSEWHERE: dict[str, Callable[[Any], Any]] = {
    "fit: epochs": lambda count: fit(two_heads(), epochs=count),
    "fit: steps": lambda count: fit(two_heads(), steps=count),
    "fit: seed": lambda count: fit(two_heads(), steps=2, seed=count),
    "fit: accumulate": lambda count: fit(two_heads(), steps=2, accumulate=count),
    "fit: log_every": lambda count: fit(two_heads(), steps=2, log_every=count),
    "fit: checkpoint_every": lambda count: fit(two_heads(), steps=2, checkpoint_every=count),
    "fit: validate_every": lambda count: fit(two_heads(), steps=2, validate_every=count),
    "recalibrate": lambda count: fit(two_heads(), steps=2, recalibrate=count),
    "recalibrate is": lambda count: recalibrate(two_heads(), count),
    "tries": lambda count: fit(two_heads(), OneShot(0.5), steps=2, floors={"shade": 0.1}, tries=count),
    "compact: round_to": lambda count: compact(nn.Linear(2, 2), torch.ones(1, 2), round_to=count),
    "Budget: threads": lambda count: Budget(macs=0.5, threads=count),
    "prune: seed": lambda count: prune(two_heads(), Budget(macs=0.5), seed=count),
    "prune: steps": lambda count: prune(two_heads(), Budget(macs=0.5), steps=count),
    "repair: batches": lambda count: repair(two_heads(), two_heads().model, count),
    "bench: threads": lambda count: bench({"a": nn.Linear(2, 2)}, torch.ones(1, 2), threads=count),
    "bench: repeats": lambda count: bench({"a": nn.Linear(2, 2)}, torch.ones(1, 2), repeats=count),
    "bench: processes": lambda count: bench({"a": nn.Linear(2, 2)}, torch.ones(1, 2), processes=count),
    "layer_ms: threads": lambda count: layer_ms(Single(2, 2, (1,)), "onnxruntime", count),
    "weights_ms: megabytes": lambda count: weights_ms([count], "onnxruntime"),
    "weights_ms: threads": lambda count: weights_ms([1], "onnxruntime", count),
    "staircase: stairs": lambda count: staircase(stairs=count),
    "Pattern: rows": lambda count: Pattern(rows=count),
    "at_least": lambda count: select({"a": torch.ones(4, 4)}, 0.5, at_least=count),
    "batches": lambda count: task_scores(two_heads(), {}, "snip", count),
    "least=": lambda count: Vocabulary.of(["a word"], count),
    "val_count=": lambda count: sets.rooms(train_count=16, test_count=1, val_count=count),
    "devices": lambda count: Devices(devices=count),
    "batch": lambda count: evaluate_file(HERE / "none.onnx", batch=count),
    "--trials": lambda count: search("dense", over={}, trials=count, out=HERE),
    "--jobs": lambda count: Trainer(HERE, jobs=count),
    "--workers": lambda count: Trainer(HERE, workers=count),
    "--cell-cpus": lambda count: Where("ray", cpus=count),
    "--seeds": lambda count: seeds_of(count),
    "tasks": lambda count: deeplab_resnet34({"a": count}, 0.05),
}


@pytest.mark.parametrize("where", TAKING)
def test_true_is_no_count(where: str) -> None:
    thing, name = TAKING[where]
    with pytest.raises(ValueError, match=rf"{name}\W.*True"):
        NEEDED.get(thing, thing)(**{name: True})


@pytest.mark.parametrize("count", [True, 1.5, "2"])
@pytest.mark.parametrize("what", ELSEWHERE)
def test_what_is_no_whole_number_is_no_count(what: str, count: Any) -> None:
    with pytest.raises(ValueError, match=rf"{what}.*{count}"):
        ELSEWHERE[what](count)


@pytest.mark.parametrize("tolerance", [math.inf, math.nan, -1.0, True, "1e-5"])
def test_a_tolerance_that_lets_everything_pass_is_none(tolerance: Any) -> None:
    with pytest.raises(ValueError, match=r"compact: tolerance is .*; give a finite number, 0 or more"):
        compact(nn.Linear(2, 2), torch.ones(1, 2), tolerance=tolerance)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Task(nn.L1Loss(), weight=True), "Task: weight is True; give a finite number"),
        (lambda: Distillation(nn.Linear(1, 1), True).start(two_heads()), "every task is True; give a finite"),
        (lambda: check_density(True), "density is True"),
        (lambda: SoftThreshold(True), "SoftThreshold: density is True; give a number"),
        (lambda: RigL(0.2, every=2.5), "RigL: every is 2.5; give a whole number, or None"),
        (lambda: EarlyStopping("shade", min_delta=True), "min_delta is True"),
        (lambda: Where("ray", gpus=True), "--cell-gpus is True; give how many"),
        (lambda: Where("ray", gpus=math.nan), "--cell-gpus is nan; give how many"),
        (lambda: Trainer(HERE, jobs=-1), "--jobs is -1; give how many runs at a time"),
        (lambda: Trainer(HERE, jobs=0), "--jobs is 0; give how many runs at a time"),
        (lambda: WarmUp(True), "WarmUp: share is True"),
        (lambda: Pattern(of=4, most=4), r"most=4\) is neither a block nor N:M"),
        (lambda: deeplab_resnet34({"a": 1}, math.nan), "width nan leaves no channel"),
        (lambda: shared_bottom({"a": True}, width=0.125), r"\{'a': True\}; give"),
        (lambda: sets.Loading((8, 8), 1, 0, cache=-1), "cache=-1; give the memory for decoded samples"),
        (lambda: sets.Loading((8, 8), 1, 0, cache=math.nan), "cache=nan; give"),
        (lambda: sets.Loading((8, 8), 0, 0), "batch=0; give a whole number of at least 1"),
        (lambda: sets.captions(root="nowhere", least=-1), "least=-1; give how often a word must occur"),
        (lambda: sets.captions(root="nowhere", frames=0), "frames=0; give"),
        (lambda: Vocabulary.of(["a word"], 0), "least=0; give how often"),
        (lambda: staircase(stairs=0), "staircase: stairs is 0; give a whole number of at least 1"),
        (lambda: staircase(factor=math.nan), "staircase: factor is nan; .* such as 0.5"),
        (lambda: staircase(2.0), "staircase: factor is 2.0"),
    ],
)
def test_numbers_out_of_range_are_refused_by_name(make: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make()


@pytest.mark.parametrize("error", [True, 0.0, math.nan])
def test_an_error_of_int8_that_is_too_much_is_refused_before_any_work(error: Any) -> None:
    with pytest.raises(ValueError, match=f"export: largest_error is {error}; give a positive share"):
        export(
            nn.Linear(2, 2), torch.ones(1, 2), "a.onnx", quantize="int8", calibrate=[], largest_error=error
        )


def test_whole_numbers_of_numpy_are_counts() -> None:
    assert len(fit(two_heads(), steps=np.int64(2)).rows)
    evaluate(two_heads(), "val", limit=np.int32(1))


def test_a_weighting_without_settings_takes_none() -> None:
    with pytest.raises(TypeError, match=r"Equal\(\) takes no arguments, not \['weights'\]"):
        Equal(weights={"shade": 2.0})
