"""What modules keep by ``get_extra_state`` is written and read as well, or said."""

from __future__ import annotations

import json
import threading
import warnings
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from problems import two_heads
from secateur import Problem, fit, load, save
from secateur.storage import load_weights, manifest, save_snapshot


class Scaled(nn.Linear):
    """A layer with a state of its own, of any kind."""

    def __init__(self, state: Any) -> None:
        super().__init__(3, 2)
        self.state = state

    def get_extra_state(self) -> Any:
        return self.state

    def set_extra_state(self, state: Any) -> None:
        if state == "none of mine":
            raise KeyError(state)
        self.state = state


PLAIN = [{"scale": 7.0, "names": ["a", "b"], "none": None}, 3, torch.tensor([1.0, float("inf")])]
NESTED = [
    (1, (2, [3.5])),
    {1: 2, None: "a", (1, "b"): True},
    {"a", "b", 3},
    {"tensor": ["a tensor", {}], "t": torch.ones(2), "list": [torch.zeros(70), {1}]},
    [b"\x00\xff", float("inf"), -float("inf"), OrderedDict(b=1, a=(2,))],
    torch.ones(2, requires_grad=True) * 2,
    {"later": torch.ones(2, requires_grad=True) * 2},
]
SHARED = torch.ones(3)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if type(one) is not type(other):
        return False
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    return one == other


@pytest.mark.parametrize("state", [*PLAIN, *NESTED])
def test_plain_values_and_tensors_come_back(tmp_path: Path, state: Any) -> None:
    model: Any = nn.Sequential(Scaled(state))
    path = save(model, tmp_path / "net.safetensors")
    torch.save({"state_dict": {f"module.{n}": t for n, t in model.state_dict().items()}}, tmp_path / "net.pt")
    for read in (lambda new: load(new, path), lambda new: load_weights(new, tmp_path / "net.pt")):
        new: Any = nn.Sequential(Scaled(torch.zeros(5)))
        read(new)
        assert same(new[0].state, state)
        assert torch.equal(new[0].weight, model[0].weight)
    again = save(model, tmp_path / "again.safetensors")
    assert again.read_bytes() == path.read_bytes()
    plain = isinstance(state, torch.Tensor) or any(state is one for one in PLAIN)
    assert manifest(path)["format"] == (2 if plain else 3), "earlier releases refuse what they cannot read"


def test_nan_and_one_tensor_twice_come_back(tmp_path: Path) -> None:
    path = save(Scaled({"nan": float("nan"), "twice": (SHARED, SHARED)}), tmp_path / "net.safetensors")
    new = Scaled(None)
    load(new, path)
    assert new.state["nan"] != new.state["nan"]
    assert all(torch.equal(SHARED, one) for one in new.state["twice"])


def test_a_layer_in_two_places_keeps_its_state(tmp_path: Path) -> None:
    layer = Scaled((1, 2))
    path = save(nn.ModuleDict({"a": layer, "b": layer}), tmp_path / "net.safetensors")
    other = Scaled(0)
    load(nn.ModuleDict({"a": other, "b": other}), path)
    assert other.state == (1, 2)


@pytest.mark.parametrize(
    "nested",
    [
        {"0._extra_state": told}
        for told in (
            {"tuple": 3}, {"list": []}, {"dict": [[1]]}, {"set": [[1]]}, {}, {"tensor": "none"}, {"bytes": "x"}, {"a": 1, "b": 2},
        )
    ] + [3],
)  # fmt: skip
def test_a_nest_that_is_none_is_refused(tmp_path: Path, nested: Any) -> None:
    path = save(nn.Sequential(Scaled((1, 2))), tmp_path / "net.safetensors")
    with safe_open(path, framework="pt") as file:
        held = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        content = json.loads(file.metadata()["secateur"])
    text = json.dumps(content | {"nested": nested})
    save_file(held, path, metadata={"secateur": text, "secateur crc32": f"{zlib.crc32(text.encode()):08x}"})
    new: Any = nn.Sequential(Scaled(4))
    with pytest.raises(ValueError, match=r"net\.safetensors is damaged: .*extra state"):
        load(new, path)
    assert new[0].state == 4


def itself() -> list[Any]:
    made: list[Any] = []
    made.append(made)
    return made


UNWRITTEN = [Path("a"), threading.Lock(), {"lock": threading.Lock()}, itself(), 10**5000, {"s": torch.eye(2).to_sparse()}]  # fmt: skip


@pytest.mark.parametrize("state", UNWRITTEN, ids=lambda state: type(state).__name__)
def test_what_no_file_holds_is_said_when_it_is_written_and_when_it_is_read(
    tmp_path: Path, state: Any
) -> None:
    model = nn.Sequential(Scaled(state))
    with pytest.warns(
        UserWarning, match=r"save: 0\._extra_state of the model is no plain value and no tensor"
    ):
        path = save(model, tmp_path / "net.safetensors")
    new: Any = nn.Sequential(Scaled(4))
    with pytest.warns(UserWarning, match=r"has no 0\._extra_state; what get_extra_state keeps"):
        load(new, path)
    assert new[0].state == 4
    assert torch.equal(new[0].weight, model[0].weight)  # pyright: ignore
    save_file(
        {n: t for n, t in model.state_dict().items() if not n.endswith("state")}, tmp_path / "own.safetensors"
    )
    with pytest.warns(UserWarning, match=r"--init: .* has no 0\._extra_state"):
        load_weights(new, tmp_path / "own.safetensors")


def test_a_state_that_no_module_takes_leaves_the_network(tmp_path: Path) -> None:
    path = save(nn.Sequential(Scaled(1), Scaled("none of mine")), tmp_path / "net.safetensors")
    new: Any = nn.Sequential(Scaled(5), Scaled(6))
    before = {n: t.clone() for n, t in new.named_parameters()}
    with pytest.raises(
        ValueError, match=r"net.safetensors: 1\._extra_state is not taken by the module's set_extra"
    ):
        load(new, path)
    assert (new[0].state, new[1].state) == (5, 6)
    assert all(torch.equal(before[n], p) for n, p in new.named_parameters())
    with pytest.raises(
        ValueError, match=r"belongs to another model: it has 0\._extra_state, 1\._extra_state"
    ):
        load(nn.Sequential(nn.Linear(3, 2), nn.Linear(3, 2)), path)


def training(state: Any) -> Problem:
    problem = two_heads()
    problem.model.extra = Scaled(state)
    problem.model.extra.requires_grad_(False)
    return problem


def test_a_checkpoint_has_it_or_says_that_it_has_not(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    fit(training((1, {"a": torch.ones(2)})), steps=2, checkpoint=path, checkpoint_every=1)
    problem: Any = training(0)
    fit(problem, steps=2, checkpoint=path, checkpoint_every=1)
    assert problem.model.extra.state[0] == 1
    with pytest.warns(
        UserWarning, match=r"fit: extra\._extra_state of the model is neither a tensor nor a plain"
    ):
        fit(training(Path("a")), steps=1, checkpoint=tmp_path / "other.pt", checkpoint_every=1)


@pytest.mark.parametrize("state", UNWRITTEN[:4], ids=lambda state: type(state).__name__)
def test_without_a_file_it_may_be_anything(state: Any, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(training(state), steps=1)
    with pytest.warns(UserWarning, match=r"fit: extra\._extra_state of the model is neither"):
        fit(training(state), steps=1, checkpoint=tmp_path / "run.pt")


def test_a_checkpoint_that_is_refused_leaves_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.pt"
    fit(training(1), steps=2, checkpoint=path, checkpoint_every=1)
    held = torch.load(path, weights_only=True)
    state = {key: value for key, value in held.items() if key not in ("model", "rows", "outline", "stream")}
    save_snapshot(path, held["model"], state | {"stream": {"nothing": 0}}, [])
    problem: Any = training(5)
    with pytest.raises(ValueError, match=r"The checkpoint .* lacks"):
        fit(problem, steps=2, checkpoint=path, checkpoint_every=1)
    assert problem.model.extra.state == 5
