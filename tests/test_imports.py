"""What is imported when: nothing heavier than torch before it is needed. No time is asserted."""

from __future__ import annotations

import importlib
import multiprocessing
import pickle
import pkgutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import secateur
from secateur.cli.main import VERBS
from test_layers import FLOORS

ROOT = Path(secateur.__file__).parent
STUBS = sorted(ROOT.rglob("__init__.pyi"))
HEAVY = {
    "torchmetrics", "torchvision", "transformers", "lightning_fabric", "matplotlib", "scipy", "sympy", "PIL", "jinja2",
    "rich", "onnx", "onnxscript", "onnxruntime", "openvino", "executorch", "torchjd", "pyarrow", "nltk", "pycocoevalcap",
}  # fmt: skip
HEAVY_OF_TORCH = (
    "torch._dynamo",
    "torch._inductor",
    "torch.onnx",
    "torch.export",
    "torch.fx",
    "torch.distributed",
)
NAMES = "Problem, Task, SoftThreshold, fit, evaluate, compact, save, load"
RUN = "from secateur.cli import main\ntry:\n    code = main({argv})\nexcept SystemExit as end:\n    code = end.code\nassert not code"
LIST = "\nimport sys\nprint('loaded:', *(m for m in sys.modules if m not in before))"


def python(code: str) -> str:
    """What a fresh process prints; a warning ends it."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


def loaded(code: str, after: str = "") -> set[str]:
    """The modules that ``code`` loads in a fresh process, beside those of ``after``."""
    printed = python(f"{after}\nimport sys\nbefore = set(sys.modules)\n{code}{LIST}")
    return set(printed.rpartition("loaded:")[2].split())


def roots(modules: set[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules}


def test_verbs_that_are_looked_up_draw_nothing() -> None:
    said = python(
        "import random\nstate = random.getstate()\nfrom secateur import bench, compact, evaluate, export, fit, prune\n"
        "print(random.getstate() == state)"
    )
    assert said.split() == ["True"]


def test_the_package_alone_is_silent_and_loads_nothing() -> None:
    found = loaded("import secateur")
    assert {m for m in found if m.startswith("secateur")} == {"secateur"}
    assert not (HEAVY | {"torch", "numpy", "yaml", "jsonargparse"}) & roots(found)


def test_the_common_names_load_nothing_heavier_than_torch() -> None:
    found = loaded(f"from secateur import {NAMES}", after="import torch")
    assert {"secateur.training", "secateur.methods", "secateur.shrinking"} <= found
    assert not HEAVY & roots(found)
    assert not [m for m in found if m.startswith(HEAVY_OF_TORCH)]


def test_an_engine_runs_without_torch() -> None:
    """Or its memory would be counted as that of every engine."""
    assert not (HEAVY | {"torch"}) & roots(loaded("from secateur.deployment.engines import load_engine"))


@pytest.mark.parametrize("option", ["--help", "--version", "-h"])
def test_the_front_door_opens_without_torch(option: str) -> None:
    found = loaded(RUN.format(argv=[option]))
    assert not (HEAVY | {"torch", "jsonargparse"}) & roots(found)
    assert {m for m in found if m.startswith("secateur.")} == {"secateur.cli", "secateur.cli.main"}


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_loads_no_other_and_helps_before_it_works(verb: str) -> None:
    argv = [verb, *(["--data", "rooms"] if verb == "doctor" else []), "--help"]
    found = loaded(RUN.format(argv=argv))
    own = {f"secateur.cli.{name}" for name in ("main", "console", VERBS[verb])}
    assert {m for m in found if m.startswith("secateur.cli.")} <= own
    assert not (HEAVY - {"rich", "PIL"}) & roots(found)
    if verb not in ("train", "doctor"):  # these two read options off the parts that are chosen
        assert "torch" not in found


def test_what_is_asked_wrongly_is_answered_before_what_trains_is_imported(tmp_path: Path) -> None:
    asked = [["--stepz", "5"], ["--steps", "-5"], ["--devices", "0"], ["--device", "cuda:99"]]
    code = f"""
import sys
from secateur.cli import main
for words in {asked}:
    try:
        main(["train", "magnitude", "--out", {str(tmp_path / "out")!r}, *words])
    except SystemExit:
        pass
    print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for said in (
        "Did you mean --steps?",
        "--steps is -5;",
        "devices is 0;",
        "device is cuda:99, but torch sees",
    ):
        assert said in done.stderr
    first, *later = (roots(set(line.split())) for line in done.stdout.splitlines())
    assert "torch" not in first
    assert not (HEAVY - {"rich", "PIL"}) & set().union(*later)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    from importlib.metadata import version

    from secateur.cli import main

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"secateur {version('secateur')}\n"


def test_any_room_can_be_imported_first() -> None:
    """A module brings its room first, so a room that is imported first, and then all of its modules, is every order.

    In a fork: libraries are imported already, and ours again leave nothing behind.
    """

    def imported() -> None:
        for room in FLOORS:
            for name in [m for m in sys.modules if m.partition(".")[0] == "secateur"]:
                del sys.modules[name]
            first = importlib.import_module(f"secateur.{room}")
            for found in pkgutil.walk_packages(first.__path__, f"{first.__name__}."):
                importlib.import_module(found.name)
            for name in first.__all__:
                getattr(first, name)

    child = multiprocessing.get_context("fork").Process(target=imported)
    with warnings.catch_warnings(action="ignore"):  # that other threads are not in the fork
        child.start()
    child.join()
    assert child.exitcode == 0


@pytest.mark.parametrize("stub", STUBS, ids=lambda p: str(p.parent.relative_to(ROOT)))
def test_what_a_stub_lists_is_there(stub: Path) -> None:
    package = ".".join(stub.parent.relative_to(ROOT.parent).parts)
    module = importlib.import_module(package)
    lines = stub.read_text(encoding="utf-8").splitlines()
    names = [line.rpartition(" ")[2] for line in lines]
    assert lines == [
        f"{line.partition(' import ')[0]} import {n} as {n}" for line, n in zip(lines, names, strict=True)
    ]
    assert sorted(names) == dir(module)
    assert all(getattr(module, name) is not None for name in names)


def test_the_face_has_rooms_and_a_star_import_the_names_alone() -> None:
    assert set(FLOORS) <= set(dir(secateur))
    assert set(secateur.__all__) == set(dir(secateur)) - set(FLOORS)
    space: dict[str, object] = {}
    exec("from secateur import *", space)
    assert set(space) - {"__builtins__"} == set(secateur.__all__)
    assert space["fit"] is secateur.fit is secateur.training.fit
    assert secateur.zoo.deeplab_resnet34 is not secateur.data.rooms
    assert secateur.deployment.engines.load_engine is not secateur.measures.metrics.MeanIoU
    with pytest.raises(AttributeError, match="no_such_name"):
        secateur.no_such_name  # noqa: B018


def test_what_the_face_hands_out_can_be_pickled() -> None:
    assert pickle.loads(pickle.dumps((secateur.Task, secateur.fit))) == (secateur.Task, secateur.fit)
    assert secateur.Task.__module__ == "secateur.problem.problem"
