"""What raises in somebody's own data, model or module is one line: what they named, the error with its class, and their line."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import ones
from torch.nn import Linear

from secateur.cli import main
from secateur.cli.failed import failed
from secateur.problem import RemediedError, check_takes

RUN = ["train", "dense", "--steps", "2", "--quiet", "--device", "cpu"]
MODULE = """
from dataclasses import replace
from functools import partial

from torch import nn, zeros
from torch.optim import SGD
from torch.utils.data import DataLoader, Dataset
from secateur.data import rooms
from tiny_runs import Small

class Street(Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        return {}["image"]  # in a sample

def few():
    return rooms(size=(24, 32), batch=4, train_count=8, val_count=4, test_count=4)

def streets(kind: str, root: str = ""):
    if kind == "key":
        return {}["x"]  # key
    if kind == "bare":
        assert root  # bare
    if kind == "file":
        open("/nothing/here")  # file
    if kind == "lines":
        raise RuntimeError("one\\n two")  # lines
    if kind == "index":
        return [][3]  # index
    if kind == "ours":
        return rooms(size=(0, 3))  # ours
    if kind == "triple":
        return replace(few(), train=[(x, *y.values()) for x, y in few().train])
    if kind == "bytes":
        return replace(few(), train=[(x.byte(), y) for x, y in few().train])
    return replace(few(), train=DataLoader(Street(), 2, num_workers=int(kind)))

class Net(Small):
    def __init__(self, tasks, kind: str = ""):
        super().__init__(tasks)
        self.kind = kind
        if kind == "init":
            {}["layer"]  # init

    def forward(self, x):
        assert self.kind != "assert", "wrong"  # assert
        found = super().forward(x.view(3) if self.kind == "twice" else x)  # twice
        kinds = {"tuple": tuple(found.values()), "others": dict(enumerate(found.values())), "lists": {t: [y] for t, y in found.items()}}
        return kinds.get(self.kind, found)

class Greedy(SGD):
    def __init__(self, params, lr: float):
        super().__init__([nn.Parameter(zeros(1))], lr)

class Untyped(Small):
    def __init__(self, tasks, q):
        super().__init__(tasks, q)

class Handed(Untyped):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)

def untyped(q):
    return few()

made = partial(Net, kind="")
"""
BROKEN = {"syntax": "def f(:\n", "lacks": "import nothing_like_this\n", "raises": "TABLE = {}['x']\n"}


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    files = {"own_parts": MODULE, **{f"own_{name}": code for name, code in BROKEN.items()}}
    for name, code in files.items():
        (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield
    for name in files:
        sys.modules.pop(name, None)


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a command that fails says, in its one line."""
    assert main([*words, "--out", "run"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert not Path("run").exists()
    return error


def line(mark: str) -> int:
    return next(n for n, code in enumerate(MODULE.splitlines(), 1) if code.endswith(f"# {mark}"))


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("key", "KeyError: 'x'"),
        ("bare", "AssertionError"),
        ("file", "FileNotFoundError: [Errno 2] No such file or directory: '/nothing/here'"),
        ("lines", "RuntimeError: one two"),
        ("index", "IndexError: list index out of range"),
    ],
)
def test_a_data_function_that_raises(kind: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = said(capsys, *RUN, "--data", "own_parts.streets", "--data.kind", kind)
    code = MODULE.splitlines()[line(kind) - 1].strip()
    assert told == f"error: --data own_parts.streets: {text}, at own_parts.py:{line(kind)}: {code}\n"


def test_what_we_say_to_somebodys_code_keeps_its_words(capsys: pytest.CaptureFixture[str]) -> None:
    told = said(capsys, *RUN, "--data", "own_parts.streets", "--data.kind", "ours")
    assert told.startswith("error: Rooms: ")
    assert f"Of --data own_parts.streets, at own_parts.py:{line('ours')}: " in told


@pytest.mark.parametrize("workers", [0, 1])
def test_a_sample_that_raises_here_or_in_a_process_that_loads(
    workers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data", "own_parts.streets", "--data.kind", str(workers)]
    told = said(capsys, *RUN, *words, "--model", "tiny_runs.small")
    assert told.startswith("error: --data own_parts.streets: KeyError: 'image', at own_parts.py:")
    assert f":{line('in a sample')}: " in told


@pytest.mark.parametrize(
    ("kind", "start"),
    [
        ("init", "--model own_parts.Net: KeyError: 'layer', at "),
        ("assert", "--model own_parts.Net: AssertionError: wrong, at "),
        ("twice", "--model own_parts.Net: RuntimeError: shape '[3]' is invalid for input of size 9216, at "),
    ],
)
def test_a_model_that_raises(kind: str, start: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--data", "own_parts.few", "--model", "own_parts.Net", "--model.kind", kind]
    told = said(capsys, *RUN, *words)
    assert told.startswith(f"error: {start}")
    assert f"at own_parts.py:{line(kind)}: " in told
    assert told.count("own_parts.Net") == 1


@pytest.mark.parametrize(
    ("words", "what", "remedy"),
    [
        (["--model.kind", "tuple"], "The model returned tuple of 3 ", "Let its forward pass do so, or name a module of your own"),
        (["--model.kind", "others"], "the model returned only dict ", "Let its forward pass do so, or name a module of your own"),
        (["--model.kind", "lists"], "returned list of 1 ", "Let its forward pass do so, or name a module of your own"),
        (["--data", "own_parts.streets", "--data.kind", "triple"], "The data's train gave tuple of 4 ", "Let the loaders of the data"),
        (["--data", "own_parts.streets", "--data.kind", "bytes"], "uint8 (RuntimeError: ", "convert the input in the data set, such"),
    ],
)  # fmt: skip
def test_a_remedy_is_one_that_a_command_line_has(
    words: list[str], what: str, remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told = said(capsys, *RUN, "--data", "own_parts.few", "--model", "own_parts.Net", *words)
    assert what in told
    assert remedy in told
    assert not any(word in told for word in ("Problem", "unpack=", "call=", "lambda"))


@pytest.mark.parametrize(
    ("words", "start"),
    [
        (
            ["--size", "4x4"],
            "Rooms: --size 4x4; give (height, width) of at least 8 pixels each, such as 48x64.",
        ),
        (["--data.tasks", "edge,edge"], "--data.tasks ['edge', 'edge']; give one or more of "),
        (["--data", "nyuv2", "--data.root", "nowhere"], "--data.root 'nowhere' does not exist; "),
        (
            ["--recalibrate", "-1", "--size", "24x32"],
            "recalibrate is -1; give at least 1 batch, or null for none.",
        ),
    ],
)
def test_arguments_are_said_as_options(
    words: list[str], start: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(capsys, *RUN, *words).startswith(f"error: {start}")


def test_an_argument_of_a_call_that_is_shown_stays(capsys: pytest.CaptureFixture[str]) -> None:
    told = said(capsys, *RUN, "--data", "own_parts.few", "--optimizer", "own_parts.Greedy")
    assert "torch.optim.AdamW(groups, lr=...)" in told


def test_in_python_the_remedy_is_one_of_python() -> None:
    with pytest.raises(RemediedError, match="call=lambda") as raised:
        check_takes("compact", Linear(2, 2), ones(1, 3))
    assert "call=" not in str(failed(raised.value, ["compact", "run"]))
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [("syntax", "SyntaxError"), ("lacks", "nothing_like_this"), ("raises", "KeyError: 'x'")],
)
def test_a_module_that_cannot_be_imported(name: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = said(capsys, *RUN, "--data", f"own_{name}.f")
    assert f"--data own_{name}.f: own_{name} cannot be imported" in told
    assert text in told
    assert f"own_{name}.py:1" in told
    assert "no such" not in told


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--model", "own_parts.Untyped", "--model.q", "3"], "argument q of own_parts.Untyped.__init__ has no type, "
         "so --model.q cannot be read; write one, such as q: int"),
        (["--model", "own_parts.Handed"], "so name it among the arguments of own_parts.Handed itself"),
        (["--model", "own_parts.made"], "--model own_parts.made is a partial"),
        (["--data", "own_parts.untyped", "--data.q", "3"], "argument q of own_parts.untyped has no type, so --data.q"),
    ],
)  # fmt: skip
def test_arguments_that_cannot_be_read(
    words: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert text in said(capsys, *RUN, *words)


def test_an_error_of_ours_that_is_for_nobody_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secateur.cli.failed._own", lambda *_: [])
    with pytest.raises(KeyError):
        main([*RUN, "--data", "own_parts.streets", "--data.kind", "key", "--out", "run"])
