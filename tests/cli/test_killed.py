"""Every command that writes, killed wherever it touches files, and the same command at once: as if never killed, bit for bit.

A sample here; with ``--slow`` every point, as ``benchmarks/reliability/kills.py`` does and counts.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from processes.commands import FORMATS, commands
from processes.killing import Command
from tiny_runs import LITTLE

pytestmark = pytest.mark.forks
SAMPLED = {
    "train": 2, "compact": 1, "report": 1, "export pt2": 1, "prune": 1,
    "pack in place": 1, "predict": 2,
}  # fmt: skip
OTHERS = [
    "overlap",
    "compare",
    "study",
    "search",
    "bench",
    "study allocation",
    "prune family",
    "pack",
    "predict file",
    "report exports",
    "export int8",
]
OTHERS += [f"export {f}" for f in FORMATS if f != "pt2"]
FILES = ("pack", "predict", "report exports", "evaluate file", "export int8")  # which need an ONNX file


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Command]:
    return commands(tmp_path_factory.mktemp("kills"), LITTLE)


def ask(verb: str) -> None:
    """Skips where the engine is not there."""
    if verb == "search":
        pytest.importorskip("optuna", reason="needs Optuna: pip install 'secateur[search]'")
    elif verb.startswith(FILES):
        pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'secateur[onnx]'")
    elif verb.startswith("export"):
        pytest.importorskip(FORMATS[verb.split()[1]])


@pytest.mark.parametrize("verb", SAMPLED)
def test_killed_somewhere_and_run_again_it_is_as_if_never_killed(
    verb: str, known: dict[str, Command]
) -> None:
    ask(verb)
    command = known[verb].never_stopped()
    for at in random.Random(0).sample(range(len(command.points)), SAMPLED[verb]):
        assert command.stopped(at) == ""


def test_killed_between_two_names_of_one_checkpoint(known: dict[str, Command]) -> None:
    """The last checkpoint is named as the one before too, and renaming a file to another name of its own does nothing."""
    command = known["train"].never_stopped()
    replaced = next(
        i for i, p in enumerate(command.points) if p.startswith("before replace .checkpoint.before")
    )
    assert command.stopped(replaced + 1) == ""


@pytest.mark.parametrize("verb", ["evaluate", "evaluate file"])
def test_what_only_reads_has_no_point_to_be_killed_at(verb: str, known: dict[str, Command]) -> None:
    ask(verb)
    assert known[verb].never_stopped().points == ["at the end"]


def test_every_verb_is_tried_somewhere(known: dict[str, Command]) -> None:
    assert {*SAMPLED, *OTHERS, "evaluate", "evaluate file"} == set(known)


@pytest.mark.slow
@pytest.mark.parametrize("verb", [*SAMPLED, *OTHERS])
def test_killed_anywhere(verb: str, known: dict[str, Command]) -> None:
    ask(verb)
    command = known[verb].never_stopped()
    assert [told for at in range(len(command.points)) if (told := command.stopped(at))] == []


def test_the_harness_sees_what_is_not_as_it_should_be(tmp_path: Path) -> None:
    """A command that writes in place, and one that begins a file anew under another name."""

    def in_place() -> int:
        with Path("a").open("a") as file:
            file.write("more")
        return 0

    def elsewhere() -> int:
        name = f"{len(list(Path.cwd().glob('b*')))}"
        Path(f"b{name}").write_text("text")
        return 0

    command = Command("in place", lambda root: None, in_place, tmp_path).never_stopped()
    assert command.points == ["before open a", "before write a", "in write a", "at the end"]
    assert [command.stopped(at) for at in range(4)] == [
        "", "", "in write a: a differs", "at the end: a differs",
    ]  # fmt: skip
    command = Command("elsewhere", lambda root: None, elsewhere, tmp_path).never_stopped()
    assert "b1 is left over" in command.stopped(1)
