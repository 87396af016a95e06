"""What was measured of another network than the one in the folder is left out, and said to be; what was measured in several ways stands side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch import nn

from run_folders import make_run
from runs.report.chapters import BUDGET, SIZES, bench, write
from secateur.runs.kept import mark
from secateur.runs.report.deployed import chapter
from secateur.runs.report.deployed.chapter import Chapter
from secateur.storage import save

COMPACT = {**SIZES, "round_to": 1}


def told(folder: Path, **files: Any) -> Chapter:
    made = chapter(write(folder, **files), {}, {})
    assert made is not None
    return made


def timed(params: int, **changes: Any) -> dict[str, Any]:
    """A timing of a network of so many parameters."""
    made = bench()
    made["bench"]["networks"]["run"] = {"params": params, "macs": 1}
    return {**made, **changes}


def test_times_before_compact_do_not_stand_beside_what_is_left_after(tmp_path: Path) -> None:
    found = told(tmp_path / "run", compact=COMPACT, bench=timed(1000))
    assert [term for term, *_ in found.sizes] == ["Parameters", "Multiply-adds"]
    assert not found.times
    assert not found.engines
    assert not [term for term, _ in found.facts if "Timed" in term]
    assert "in onnxruntime and torch: measured before compact; run bench again." in " ".join(found.missing)


def test_times_after_it_do(tmp_path: Path) -> None:
    found = told(tmp_path / "run", compact=COMPACT, bench=timed(250))
    assert "Time in torch" in {term for term, *_ in found.sizes}
    assert "run bench again" not in " ".join(found.missing)


def test_the_weights_tell_networks_of_one_size_apart(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    save(nn.Linear(2, 2), run / "compact.safetensors")
    present = mark(run)
    files = {
        "bench": timed(250, of="another"),
        "exports": {
            "model.onnx": {"format": "onnx", "tasks": [], "bytes": 1000, "of": "another"},
            "small.onnx": {"format": "onnx", "tasks": [], "bytes": 900, "of": present},
        },
    }
    found = told(run, compact=COMPACT, **files)
    assert present is not None
    assert next(fact for term, fact in found.facts if term == "Exported").startswith("small.onnx")
    said = " ".join(found.missing)
    assert "model.onnx was exported before compact; run export again." in said
    assert "measured of another network than the one here" in said


def test_a_network_that_it_never_was_is_no_before(tmp_path: Path) -> None:
    large = bench(against="large")
    large["bench"]["networks"]["large"] = {"params": 9000, "macs": 1}
    found = told(tmp_path / "run", compact=COMPACT, bench=large)
    assert [term for term, *_ in found.sizes] == ["Parameters", "Multiply-adds"]
    assert found.times, "the benchmark itself has them"
    assert (
        "timed beside large, of 9.00\u00a0k parameters, which is not the network that it was before"
        in " ".join(found.missing)
    )


def test_what_was_pruned_and_then_compacted_began_as_what_was_pruned(tmp_path: Path) -> None:
    smaller = {"before": SIZES["after"], "after": {"params": 200, "macs": 1000}}
    found = told(tmp_path / "run", budget=BUDGET, compact=smaller, bench=timed(200))
    sizes = {term: cells for term, *cells in found.sizes}
    assert sizes["Parameters"][:2] == ["1.00\u00a0k", "200"]
    assert "Time in torch" in sizes


def test_two_sizes_of_input_are_told_apart(tmp_path: Path) -> None:
    other = timed(250)
    other["bench"]["inputs"] = [[1, 3, 16, 16]]
    found = told(tmp_path / "run", compact=COMPACT, bench={**timed(250), "others": [other]})
    terms = [term for term, *_ in found.sizes if term.startswith("Time in torch")]
    assert [("8 × 8" in term, "16 × 16" in term) for term in terms] == [(True, False), (False, True)]
    assert len(found.times) == 8
    assert len(found.advice) == 1


@pytest.mark.parametrize(
    ("weights", "said"), [("sparse_float16", "nearly"), ("sparse", "what"), ("dense", "what")]
)
def test_a_rounded_file_is_not_said_to_be_exact(weights: str, said: str, tmp_path: Path) -> None:
    made = {"model.onnx": {"format": "onnx", "tasks": [], "bytes": 1000, "weights": weights}}
    ((_, fact),) = told(tmp_path / "run", exports=made).facts
    assert f"it predicts {said} " in fact
    assert ("rounded to float16" in fact) == (weights == "sparse_float16")
