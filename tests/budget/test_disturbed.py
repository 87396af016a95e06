"""Times that other programs disturbed are taken again; where they cannot be had clean, that is said and not kept."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from problems import two_heads
from secateur import Budget
from secateur.budget import latency, measured
from secateur.budget.latency import Latency
from secateur.budget.layers import layers_of
from secateur.budget.measured import Costing
from secateur.budget.phases import Phases
from secateur.deployment.bench import LayerTime, Single, layer_ms, single

X = torch.zeros(1, 3, 8, 8)


def taken(monkeypatch: pytest.MonkeyPatch, *disturbed: float | None) -> list[float | None]:
    """Lets ``bench`` find those, one after the other, with as many milliseconds; the list holds what is left of them."""
    left = list(disturbed)

    def bench(*_: Any, **__: Any) -> Any:
        share = left.pop(0)
        p50 = 10.0 + 100 * (share or 0.0)
        measure = SimpleNamespace(p10=p50, p50=p50, p90=p50, file=10**6, disturbed=share)
        return SimpleNamespace(measures={"onnxruntime": {"network": measure}})

    monkeypatch.setattr(measured, "bench", bench)
    return left


def cost(say: Callable[[str], None] = lambda _: None) -> float:
    return Costing(two_heads(), X, Budget(ms=1.0), say=say).dense()["ms"]


@pytest.mark.parametrize("disturbed", [(0.0,), (None,), (0.3, 0.01), (0.5, 0.4, 0.0)], ids=str)
def test_a_network_is_timed_until_it_is_alone(
    monkeypatch: pytest.MonkeyPatch, disturbed: tuple[float | None, ...]
) -> None:
    left = taken(monkeypatch, *disturbed, 0.9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cost() == pytest.approx(10.0, abs=1.1)
    assert left == [0.9]


@pytest.mark.parametrize(
    ("spreads", "expected"), [((0.05,), [3]), ((0.3, 0.3), [3, 12]), ((0.3, 0.02), [3, 12])], ids=str
)
def test_a_time_that_varies_is_taken_in_more_processes(
    monkeypatch: pytest.MonkeyPatch, spreads: tuple[float, ...], expected: list[int]
) -> None:
    left, asked = list(spreads), list[int]()

    def bench(*_: Any, processes: int, **__: Any) -> Any:
        asked.append(processes)
        ms = float(len(asked))
        measure = SimpleNamespace(p10=ms, p50=ms, p90=ms * (1 + left.pop(0)), file=10**6, disturbed=0.01)
        return SimpleNamespace(measures={"onnxruntime": {"network": measure}})

    monkeypatch.setattr(measured, "bench", bench)
    assert cost() == len(expected)
    assert asked == expected


def test_the_least_disturbed_stands_and_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    left = taken(monkeypatch, 0.5, 0.2, 0.4, 0.3, 0.6)
    said: list[str] = []
    with pytest.warns(UserWarning, match="took the core 20%"):
        assert cost(said.append) == pytest.approx(30.0)
    assert not left
    assert said == [
        f"timing again, {time} of at most 5 times: other programs took the core {share} of the time"
        for time, share in ((2, "50%"), (3, "20%"), (4, "40%"), (5, "30%"))
    ]


@pytest.mark.parametrize("progress", [True, False])
def test_that_it_is_timed_again_is_said_unless_silence_is_asked(
    progress: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left = taken(monkeypatch, 0.3, 0.0)
    phases = Phases(Budget(ms=1.0), 4, progress)
    phases.measuring("the dense network")
    cost(phases)
    assert not left
    assert capsys.readouterr().err.splitlines() == progress * [
        "prune: timing in onnxruntime: the dense network",
        "prune: timing again, 2 of at most 5 times: other programs took the core 30% of the time",
    ]


def test_a_disturbed_table_serves_and_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean = iter([True] * 5 + [False] + [True] * 1000)
    monkeypatch.setattr(
        latency, "layer_ms", lambda s, *_: LayerTime(float(s.inputs * s.outputs), next(clean))
    )
    layers = layers_of(two_heads().model, X)
    first = Latency("onnxruntime", cache=tmp_path)
    with pytest.warns(UserWarning, match="1 kinds of layers"):
        found = first.coefficients(layers)
    asked: list[Single] = []

    def again(s: Single, *_: object) -> LayerTime:
        asked.append(s)
        return LayerTime(float(s.inputs * s.outputs), True)

    monkeypatch.setattr(latency, "layer_ms", again)
    assert torch.equal(Latency("onnxruntime", cache=tmp_path).coefficients(layers), found)
    assert asked, "the disturbed layer is measured anew"
    asked.clear()
    Latency("onnxruntime", cache=tmp_path).coefficients(layers)
    assert not asked


def test_a_table_that_is_stopped_goes_on_and_says_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers, said, left = layers_of(two_heads().model, X), list[str](), iter(range(20))

    def timed(single: Single, *_: object) -> LayerTime:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return LayerTime(float(single.inputs * single.outputs), True)

    monkeypatch.setattr(latency, "layer_ms", timed)
    with pytest.raises(KeyboardInterrupt):
        Latency("onnxruntime", cache=tmp_path, say=said.append).coefficients(layers)
    assert said[0].startswith("timing in onnxruntime: 1 of 5 kinds of layers that the table")
    stopped, left = len(said), iter(range(1000))
    said.clear()
    Latency("onnxruntime", cache=tmp_path, say=said.append).coefficients(layers)
    assert stopped > 1
    assert len(said) == 5 - (stopped - 1), "the one it was stopped in is timed anew, and those before are not"


@pytest.mark.parametrize(
    ("shares", "stands"),
    [((0.0,), 0), ((1.0, 1.0, 1.0, 0.0), 3), ((0.75, 0.5, 0.25, 0.75, 0.5), 2), ((0.5,) * 5, 0)],
    ids=str,
)
def test_a_layer_is_timed_until_it_is_alone(
    monkeypatch: pytest.MonkeyPatch, shares: tuple[float, ...], stands: int
) -> None:
    """Each try takes a second, of which the process is without a core for these shares; the rest of the tries are clean."""
    times, waits = iter(range(100)), waiting(*shares)
    monkeypatch.setattr(single, "_runner", lambda *_: lambda: None)
    monkeypatch.setattr(single, "_quartile", lambda runs: [float(next(times) + 1)] * len(runs))
    monkeypatch.setattr(single, "waited", lambda: next(waits))
    monkeypatch.setattr(single, "time", SimpleNamespace(perf_counter=itertools.count().__next__))
    found = layer_ms(Single(4, 4, (1,)), "onnxruntime")
    assert found == LayerTime(1.0 + stands, clean=shares[stands] == 0.0)
    assert next(times) == len(shares)


def waiting(*shares: float) -> Iterator[float]:
    """Seconds without a core before and after each try."""
    total = 0.0
    for share in itertools.chain(shares, itertools.repeat(0.0)):
        yield total
        total += share
        yield total
