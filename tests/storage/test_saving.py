"""Weights on disk: exact, small, harmless, and refused with a reason when they are not right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from problems import TwoHeads, equal, two_heads, weights
from secateur.methods import SoftThreshold
from secateur.storage import save_snapshot
from secateur.storage.saving import load, manifest, save
from secateur.storage.snapshot import named_tensors
from secateur.training.fit import fit


def test_round_trip_is_exact_and_small(tmp_path: Path) -> None:
    problem = two_heads(width=64)
    dense = save(problem.model, tmp_path / "dense.safetensors").stat().st_size
    fit(problem, SoftThreshold(0.1), steps=10)
    path = save(problem.model, tmp_path / "sparse.safetensors", {"tasks": ["colour", "shade"]})
    fresh = TwoHeads(64)
    assert load(fresh, path) is fresh
    assert equal(fresh.state_dict(), weights(problem))
    assert path.stat().st_size < dense / 5
    assert manifest(path)["about"] == {"tasks": ["colour", "shade"]}


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_dtypes(tmp_path: Path, dtype: torch.dtype) -> None:
    model = nn.Linear(33, 7).to(dtype)
    with torch.no_grad():
        model.weight[model.weight.abs() < 0.1] = 0
    fresh = nn.Linear(33, 7).to(dtype)
    load(fresh, save(model, tmp_path / "m.safetensors"))
    assert equal(fresh.state_dict(), model.state_dict())


def test_tied_weights_are_stored_once(tmp_path: Path) -> None:
    def make() -> nn.Sequential:
        model = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64))
        model[1].weight = model[0].weight
        return model

    model, fresh = make(), make()
    path = save(model, tmp_path / "m.safetensors")
    assert path.stat().st_size < 1.5 * 64 * 64 * 4
    load(fresh, path)
    assert equal(fresh.state_dict(), model.state_dict())
    assert fresh[0].weight is fresh[1].weight


def test_truncated_file(tmp_path: Path) -> None:
    path = save(two_heads().model, tmp_path / "m.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    model = TwoHeads()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(ValueError, match=r"m\.safetensors is truncated"):
        load(model, path)
    assert equal(before, model.state_dict())


def test_another_model(tmp_path: Path) -> None:
    path = save(TwoHeads(8), tmp_path / "m.safetensors")
    with pytest.raises(
        ValueError,
        match=r"belongs to another model: colour.weight: file \(5, 8, 1, 1\), model \(5, 16, 1, 1\)",
    ):
        load(TwoHeads(16), path)
    with pytest.raises(ValueError, match="file absent"):
        load(nn.Sequential(TwoHeads(8)), path)


def test_foreign_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="No weights at"):
        load(TwoHeads(), tmp_path / "none.safetensors")
    save_file({"a": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(ValueError, match="no manifest of ours"):
        load(TwoHeads(), tmp_path / "foreign.safetensors")
    text = json.dumps({"format": 99, "tensors": {}, "about": {}})
    save_file({"a": torch.zeros(2)}, tmp_path / "later.safetensors", metadata={"secateur": text})
    with pytest.raises(ValueError, match="of format 99"):
        load(TwoHeads(), tmp_path / "later.safetensors")


def test_weights_that_the_model_does_not_list_are_said(tmp_path: Path) -> None:
    model = nn.Module()
    model.a = nn.Linear(2, 2)
    model.again, model.nothing = [model.a], {"x": None}  # pyright: ignore
    save(model, tmp_path / "net.safetensors")
    model.heads = {"a": nn.Linear(2, 2)}  # pyright: ignore
    with pytest.warns(UserWarning, match=r"self\.heads of the model holds weights that it does not list"):
        save(model, tmp_path / "net.safetensors")


def test_a_model_still_in_training_is_refused(tmp_path: Path) -> None:
    problem = two_heads()
    SoftThreshold(0.1).start(problem, 10)
    with pytest.raises(ValueError, match="is being pruned, and its zeros are not in its weights yet"):
        save(problem.model, tmp_path / "m.safetensors")


def test_the_same_weights_are_the_same_bytes(tmp_path: Path) -> None:
    model = nn.Linear(33, 7)
    written = {save(model, tmp_path / f"{i}.safetensors", {"a": "é\n"}).read_bytes() for i in range(8)}
    assert len(written) == 1


def test_the_same_state_is_the_same_bytes(tmp_path: Path) -> None:
    """Whatever the file is called, and whether two of its words happen to be one object, as they are once they are read."""
    one, two = (
        {"step": 1, "optimizer": {"step": ["step"]}},
        json.loads('{"step": 1, "optimizer": {"step": ["step"]}}'),
    )
    tensors = dict(nn.Linear(3, 2).named_parameters())
    for name, state in (("one", one), ("two", two)):
        save_snapshot(tmp_path / name, tensors, state, [])
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_what_is_no_plain_value_is_refused_and_the_file_stays(tmp_path: Path) -> None:
    path = save(nn.Linear(2, 2), tmp_path / "net.safetensors")
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"about must hold plain values .* is left as it was"):
        save(nn.Linear(2, 2), path, {"classes": {"wall", "floor"}})
    assert path.read_bytes() == before


def test_a_name_that_ends_like_the_wrapper_of_a_compiled_one_is_kept() -> None:
    model = nn.ModuleDict({"my_orig_mod": nn.Linear(2, 2, bias=False)})
    assert list(named_tensors(model)) == ["my_orig_mod.weight"]
