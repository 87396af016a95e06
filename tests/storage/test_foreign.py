"""Weights of somebody's own: all of them or none, as numbers of the same kind, and no code is run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import nn

from problems import equal, two_heads, weights
from secateur.storage import load_weights

NAME = "trunk.4.weight"


class Hostile:
    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.made),)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda held, value: held | {NAME: value.to_sparse()}, "another shape or kind of numbers"),
        (lambda held, value: held | {NAME: value.to(torch.int32)}, "another shape or kind of numbers"),
        (lambda held, value: held | {NAME: value.to(torch.complex64)}, "another shape or kind of numbers"),
        (lambda held, value: held | {NAME: 3}, "another shape or kind of numbers"),
        (lambda held, value: held | {NAME: value[:1]}, "another shape or kind of numbers"),
        (lambda held, value: held | {NAME: value * torch.nan}, "NaN or infinity in .'trunk.4.weight'"),
        (
            lambda held, value: {f"module.{name}": one for name, one in held.items()} | {"ema.rate": value},
            r"it lacks \['colour.bias'.*has also \['ema.rate', 'module.*under the names of its state_dict",
        ),
    ],
)
def test_weights_that_do_not_fit_leave_the_network(tmp_path: Path, change: Any, said: str) -> None:
    held = {name: value + 1 for name, value in two_heads().model.state_dict().items()}
    torch.save(change(held, held[NAME]), tmp_path / "w.pt")
    problem = two_heads()
    before = weights(problem)
    with pytest.raises(ValueError, match=said):
        load_weights(problem.model, tmp_path / "w.pt")
    assert equal(before, weights(problem))


def test_a_whole_module_or_code_is_not_read(tmp_path: Path) -> None:
    model = two_heads().model
    torch.save(model, tmp_path / "module.pt")
    torch.save({"state_dict": model.state_dict(), "x": Hostile(tmp_path / "ran")}, tmp_path / "code.pt")
    for name in ("module.pt", "code.pt"):
        with pytest.raises(ValueError, match="holds more than tensors, such as a whole module"):
            load_weights(model, tmp_path / name)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "net.inner."])
def test_names_under_a_wrapper_are_those_of_the_network(tmp_path: Path, prefix: str) -> None:
    held = {name: value + 1 for name, value in two_heads().model.state_dict().items()}
    torch.save({"state_dict": {prefix + name: value for name, value in held.items()}}, tmp_path / "w.pt")
    model = two_heads().model
    load_weights(model, tmp_path / "w.pt")
    assert all(torch.equal(value, held[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("junk", [b"i am junk", b"junk", b"\x80\x02i", b"", b"PK\x03\x04junk"])
def test_what_is_no_file_of_weights_is_said(tmp_path: Path, junk: bytes) -> None:
    (tmp_path / "w.pt").write_bytes(junk)
    with pytest.raises(
        ValueError, match=r"is no file of weights \((it is torn, or|\w+ \w+).*save model.state_dict"
    ):
        load_weights(two_heads().model, tmp_path / "w.pt")


def test_another_precision_is_taken(tmp_path: Path) -> None:
    held = two_heads().model.state_dict()
    torch.save(
        {"state_dict": {n: v.half() if v.is_floating_point() else v for n, v in held.items()}},
        tmp_path / "w.pt",
    )
    model = two_heads().model
    load_weights(model, tmp_path / "w.pt")
    assert torch.equal(model.state_dict()[NAME], held[NAME].half().float())


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_plain_files_of_safetensors_and_files_without_counters(
    tmp_path: Path, prefix: str, suffix: str
) -> None:
    held = {n: v + 1 for n, v in two_heads().model.state_dict().items()}
    file = {prefix + n: v for n, v in held.items() if not n.endswith("num_batches_tracked")}
    path = tmp_path / f"w{suffix}"
    save_file(file, path) if suffix == ".safetensors" else torch.save(file, path)
    model = two_heads().model
    load_weights(model, path)
    for name, value in model.state_dict().items():
        assert torch.equal(value, held[name] if prefix + name in file else torch.tensor(0))


def test_tied_weights_that_stand_once(tmp_path: Path) -> None:
    made = [nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4, bias=False)) for _ in range(2)]
    for one in made:
        one[1].weight = one[0].weight
    save_model(made[0], str(tmp_path / "w.safetensors"))
    load_weights(made[1], tmp_path / "w.safetensors")
    assert torch.equal(made[1][1].weight, made[0][0].weight)
    assert made[1][1].weight is made[1][0].weight


def test_a_safetensors_file_that_is_torn_or_of_another_network(tmp_path: Path) -> None:
    model, path = two_heads().model, tmp_path / "w.safetensors"
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match=r"is of another network: it lacks .*has also \['a'\]"):
        load_weights(model, path)
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(ValueError, match="is truncated or no safetensors file"):
        load_weights(model, path)


def test_several_that_fit_and_differ_are_refused(tmp_path: Path) -> None:
    model, path = two_heads().model, tmp_path / "w.pth"
    held = {n: v.clone() for n, v in model.state_dict().items()}
    other = {f"module.{n}": v + 1 for n, v in held.items()}
    torch.save({"state_dict": held, "deep": {"ema": other}, "optimizer": {"state": {}}}, path)
    with pytest.raises(
        ValueError,
        match=r"holds 2 state dicts that fit and differ, \['state_dict'\], \['deep'\]\['ema'\]; save the one",
    ):
        load_weights(model, path)
    torch.save({"model": held, "best": held, "half": {"x": torch.ones(1)}}, path)
    load_weights(model, path)


class Renaming(nn.Module):
    """Its state dict has other names than its modules, which nothing takes back."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 3)
        self._register_state_dict_hook(self.renamed)

    @staticmethod
    def renamed(module: nn.Module, state: dict[str, Any], *_: Any) -> None:
        for name in list(state):
            state[name.replace("inner", "public")] = state.pop(name)


def test_names_that_a_hook_gives_are_taken(tmp_path: Path) -> None:
    first, second = Renaming(), Renaming()
    torch.save(first.state_dict(), tmp_path / "weights.pth")
    load_weights(second, tmp_path / "weights.pth")
    assert torch.equal(first.inner.weight, second.inner.weight)
