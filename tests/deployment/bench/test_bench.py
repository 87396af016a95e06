"""The benchmark: what it counts, what it says, and that processes come and go as they should. No time is asserted."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from importlib import import_module
from io import StringIO
from pathlib import Path

import pytest
import torch
from rich.console import Console

from problems import TwoHeads
from secateur.deployment.bench import Bench, Facts, Measure, bench, crowded, table
from secateur.deployment.bench.advice import advice, falls_short
from secateur.deployment.bench.bench import _measure, _shares
from secateur.deployment.bench.facts import facts
from secateur.deployment.bench.process import Worker
from secateur.deployment.engines import EngineMissingError

X = torch.randn(1, 3, 16, 16)
FACTS = Facts(params=100, macs=1000, nonzero_macs=1000, dead_channels=0, uneven=0.0)
MEASURE = Measure(9.0, 10.0, 11.0, 1.0, 1.0, 1.0, 1.0, 100, 10**6, 1000, 0.0, True)


def installed(*modules: str) -> bool:
    return all(importlib.util.find_spec(module) for module in modules)


def check(found: Bench, engine: str, processes: int = 2) -> None:
    assert found.against == "dense"
    assert list(found.measures) == [engine]
    reference, small = found.measures[engine]["dense"], found.measures[engine]["small"]
    assert reference.speedup == reference.ratio_of_medians == 1.0
    assert small.p10 <= small.p50 <= small.p90
    assert small.speedup_low <= small.speedup <= small.speedup_high
    assert small.ratio_of_medians == pytest.approx(reference.p50 / small.p50)
    assert 0 < small.file < reference.file
    assert found.networks["small"].macs < found.networks["dense"].macs
    assert found.inputs == [[1, 3, 16, 16]]
    assert json.loads(json.dumps(found.to_dict()))["settings"]["processes"] == processes
    output = StringIO()
    Console(file=output, width=200).print(table(found))
    assert all(word in output.getvalue() for word in ("reference", engine, "small", "1x3x16x16"))


@pytest.mark.parametrize(
    ("engine", "processes", "needs"),
    [
        ("torch", 1, ()),
        ("onnxruntime", 2, ("onnx", "onnxscript", "onnxruntime")),
        pytest.param("openvino", 1, ("openvino",), marks=pytest.mark.slow),
    ],
)
def test_two_networks(engine: str, processes: int, needs: tuple[str, ...]) -> None:
    if not installed(*needs):
        pytest.skip(f"{needs} not installed")
    models = {"dense": TwoHeads(16), "small": TwoHeads(4)}
    check(bench(models, X, [engine], repeats=3, processes=processes), engine, processes)
    assert all(model.training for model in models.values())


@pytest.mark.slow
def test_executorch() -> None:
    if not installed("executorch"):
        pytest.skip("executorch not installed: pip install 'secateur[executorch]'")
    check(
        bench({"dense": TwoHeads(16), "small": TwoHeads(4)}, X, ["executorch"], repeats=3, processes=2),
        "executorch",
    )


def test_unusable_arguments() -> None:
    models = {"a": TwoHeads(4)}
    with pytest.raises(ValueError, match="candidates is empty"):
        bench({}, X)
    for given in ([TwoHeads(4)], TwoHeads(4)):
        with pytest.raises(ValueError, match=r"candidates is a \w+; give {name: model}, the reference first"):
            bench(given, X)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"candidates\['a'\] is a str, no module; give {name: model}"):
        bench({"a": "net.onnx"}, X)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"engines is 'torch'; choose from .*, in a list"):
        bench(models, X, "torch")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="choose from"):
        bench(models, X, ["tensorrt"])
    with pytest.raises(ValueError, match="against is 'b'"):
        bench(models, X, against="b")
    for threads in (0, 1.5):
        with pytest.raises(ValueError, match=f"threads is {threads}; give a whole number of at least 1"):
            bench(models, X, threads=threads)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="repeats is 0; give a whole number of at least 1"):
        bench(models, X, repeats=0)
    with pytest.raises(ValueError, match="precision is 'fp16'; give one of f32, bf16, f16"):
        bench(models, X, precision="fp16")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="keep_float is given, but nothing is quantised"):
        bench(models, X, keep_float=["colour"])
    assert bench(models, X, repeats=1).settings["processes"] == 1, "as many as there are rounds"
    with pytest.raises(ValueError, match="processes is 9"):
        bench(models, X, repeats=3, processes=9)


def test_a_missing_engine_is_found_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setattr(sys.modules["secateur.deployment.bench.bench"], "Worker", None)
    with pytest.raises(EngineMissingError, match=r"pip install 'secateur\[openvino\]'"):
        bench({"a": TwoHeads(4)}, X, ["torch", "openvino"])


def test_a_dead_process_says_its_last_words(tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    worker = Worker(path, tmp_path / "x.npz", 1, "f32", tmp_path / "log")
    with pytest.raises(RuntimeError, match=r"(?s)process for net.pt2 ended.*No file at"), worker:
        pass


def test_counts_zeros_dead_channels_and_uneven_layers() -> None:
    model = TwoHeads(16)
    with torch.no_grad():
        model.trunk[4].weight[:3] = 0  # 3 of 16 channels
    found = facts(model, X)
    pixels = 256
    macs = pixels * (3 * 16 * 9 + 16 * 16 * 9 + 16 * 5 + 16 * 8 + 8)
    assert found.macs == macs
    assert found.nonzero_macs == macs - pixels * 3 * 16 * 9
    assert found.dead_channels == 3
    assert found.uneven == pytest.approx(pixels * (3 * 16 * 9 + 16 * 5 + 8) / macs)  # 3, 5 and 1 channels
    assert found.params == sum(p.numel() for p in model.parameters())


def test_a_vector_of_the_users_own_counts_and_has_no_channels() -> None:
    class Scored(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.score = torch.nn.Linear(8, 8), torch.nn.Parameter(torch.zeros(8))

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"a": self.layer(x) @ self.score}

    found = facts(Scored(), torch.randn(3, 8))
    assert (found.macs, found.dead_channels) == (3 * (64 + 8), 0)


def test_paired_ratios_survive_a_slow_spell() -> None:
    def block(ms: float) -> dict:
        return {"ms": [ms] * 3, "disturbed": None, "settled": True, "memory": None}

    slow = [1, 1, 3, 1]  # the third round ran on a busy machine, for both
    own, reference = [block(2.0 * s) for s in slow], [block(6.0 * s) for s in slow]
    found = _measure(own, reference, Path(__file__))
    assert (found.speedup, found.speedup_low, found.speedup_high) == (3.0, 3.0, 3.0)
    assert found.disturbed is None
    assert found.memory is None


def test_rounds_are_shared_among_processes() -> None:
    assert _shares(20, 4) == [5, 5, 5, 5]
    assert _shares(5, 3) == [2, 2, 1]


@pytest.mark.parametrize(
    ("factor", "speedup", "short"),
    [(10, 6, False), (10, 4, True), (2, 1.5, False), (2, 1.3, True), (1.05, 0.9, False)],
)
def test_falls_short(factor: float, speedup: float, short: bool) -> None:
    assert falls_short(factor, speedup) is short


def test_advice() -> None:
    networks = {
        "dense": FACTS,
        "uneven": replace(FACTS, macs=250, nonzero_macs=250, uneven=0.9),
        "zeros": replace(FACTS, nonzero_macs=100, dead_channels=7),
        "fine": replace(FACTS, macs=250, nonzero_macs=250),
    }
    here = {
        "dense": MEASURE,
        "uneven": replace(MEASURE, p50=8.0, speedup=1.2),
        "zeros": replace(MEASURE, settled=False),
        "fine": replace(MEASURE, p50=2.5, speedup=4.0, disturbed=0.5),
    }
    there = here | {"uneven": replace(MEASURE, p50=0.5, speedup=1.3)}
    found = advice("dense", networks, {"torch": here, "openvino": there})
    text = "\n".join(found)
    assert "uneven does 4.0 times less work, but is only 1.2 times as fast in torch: 90% of its work" in text
    assert "round_to of 8" in text
    assert "openvino runs uneven in 0.5 ms, torch in 8 ms" in text
    assert "at 0.5 ms the fixed cost" in text
    assert text.count("90% of the work of zeros is with zeros, and torch, openvino took as long") == 1
    assert "7 channels are wholly zero: `compact`" in text
    assert "zeros in torch kept a core busy" in text
    assert "fine in torch waited for a core 50% of the time" in text
    assert "fine does" not in text
    assert advice("dense", {"dense": FACTS}, {"torch": {"dense": MEASURE}}) == ()


def test_threads_beyond_the_cores_are_said_before_and_blamed_after(monkeypatch: pytest.MonkeyPatch) -> None:
    """64 threads on two cores waited for each other, and other programs were blamed."""
    assert crowded(1) == ""
    why = crowded(9999)
    assert why.startswith("threads is 9999, more than the cores that this process may use (")
    waited = {"torch": {"dense": replace(MEASURE, disturbed=22.5)}}
    (told,) = advice("dense", {"dense": FACTS}, waited, crowded=why)
    assert told.endswith(f"of the time: {why}; give that many at most.")
    assert "other programs" not in told
    timer = import_module("secateur.deployment.bench.bench")
    monkeypatch.setattr(timer, "formats", lambda *_: pytest.fail("it was timed before it was said"))
    with pytest.warns(UserWarning, match="bench: threads is 9999"), pytest.raises(pytest.fail.Exception):
        bench({"dense": TwoHeads(4)}, X, threads=9999)
