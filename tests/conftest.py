"""One torch thread, fixed seeds, and where the real data lies."""

from __future__ import annotations

import gc
import os
from copy import copy
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
gc.disable()  # until everything is collected: what is made until then stays to the end
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests marked slow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # With a GPU autograd has threads once anything has trained, which a fork has not.
    items.sort(key=lambda item: "forks" not in item.keywords)
    if config.getoption("--slow"):
        return
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="slow; run with --slow"))


def pytest_collection_finish() -> None:
    """In the processes that run tests alone: pytest-xdist's own needs no torch."""
    import torch
    from lightning_fabric.utilities import registry

    torch.set_num_threads(1)
    if not torch.cuda.is_available():
        # A trace makes torch count a GPU that is not there, and the first backward pass of all starts a thread for each.
        torch.ones(1, requires_grad=True).sum().backward()
    # Of Lightning: it reads what is installed for every Fabric, and has torch look for a driver in every step of an optimizer.
    setattr(registry, "entry_points", cache(registry.entry_points))  # noqa: B010
    os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
    _keep_translations()
    _keep_operators()
    _leave_plots_out()
    setattr(os, "fsync", lambda number: None)  # noqa: B010  # no test outlives a loss of power
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)
    gc.enable()


def _keep_translations() -> None:
    """Of torch's exporter to ONNX: it collects how operations are written for every export, and makes a table of it, a quarter and a seventh of the time of a small one."""
    from torch.onnx._internal import _lazy_import

    lazy = getattr(_lazy_import, "onnxscript_apis", None)
    if lazy is not None:
        made = cache(lambda: import_module(lazy._name).get_torchlib_ops())
        lazy.get_torchlib_ops = made
    if find_spec("onnxscript") is None:
        return
    registry = getattr(import_module("torch.onnx._internal.exporter._registration"), "ONNXRegistry", None)
    if (collect := getattr(registry, "from_torchlib", None)) is not None:
        kept = cache(collect)

        def copied(*asked: Any, **options: Any) -> Any:  # an export may add to its own
            found = copy(kept(*asked, **options))
            found.functions = {target: list(ways) for target, ways in found.functions.items()}
            return found

        setattr(registry, "from_torchlib", staticmethod(copied))  # noqa: B010


def _keep_operators() -> None:
    """Of torch.export: it asks the dispatcher for all operators thrice in an export, since one may be registered in between."""
    from torch._export import utils

    if (asked := getattr(utils, "_materialize_cpp_cia_ops", None)) is not None:
        setattr(utils, "_materialize_cpp_cia_ops", cache(asked))  # noqa: B010


def _leave_plots_out() -> None:
    """Of every run's page, which take a third of the time of a small run; tests/runs/report draws them."""
    plots = import_module("secateur.runs.report.plots")
    setattr(plots, "drawn", plots.to_svg)  # noqa: B010
    setattr(plots, "to_svg", lambda figure, slug, title: f"<svg><title>{title}</title></svg>")  # noqa: B010


@pytest.fixture(autouse=True)
def _seed() -> None:
    import torch

    torch.manual_seed(0)


def _shared(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"real data not found: {path} (lay the data folder beside the checkout)")
    return path


@pytest.fixture
def nyuv2_root() -> Path:
    """All of NYU-v2 at 160x120."""
    return _shared("nyuv2_160x120")


@pytest.fixture
def nyuv2_mini_root() -> Path:
    """The 72-frame fixture of NYU-v2."""
    return _shared("nyuv2_mini_80x60")
