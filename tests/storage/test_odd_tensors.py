"""Tensors that share memory, repeat it, or are of kinds that few files have: written and read as they are, or refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from secateur import load, save
from secateur.storage import load_snapshot, load_weights, named_tensors, save_snapshot


def holding(**buffers: Tensor) -> nn.Module:
    model = nn.Linear(3, 2)
    for name, buffer in buffers.items():
        model.register_buffer(name, buffer)
    return model


def alike(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(
        a.dtype == b.dtype and a.reshape(-1).tolist() == b.reshape(-1).tolist()
        for a, b in ((x.float(), y.float()) if x.dtype.itemsize == 1 else (x, y) for x, y in pairs)
    )


def chain(tied: bool) -> Any:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    if tied:
        model[1].weight = model[0].weight
    return model


def test_weights_that_differ_do_not_go_into_one_tensor(tmp_path: Path) -> None:
    apart, tied = chain(False), chain(True)
    before = {n: t.clone() for n, t in tied.state_dict().items()}
    ours = save(apart, tmp_path / "ours.safetensors")
    torch.save(apart.state_dict(), tmp_path / "own.pt")
    save_snapshot(tmp_path / "run.pt", named_tensors(apart), {}, [])
    for read in (
        lambda: load(tied, ours),
        lambda: load_weights(tied, tmp_path / "own.pt"),
        lambda: load_snapshot(tmp_path / "run.pt", named_tensors(tied)),
    ):
        with pytest.raises(
            ValueError,
            match=r"another model: in this one 0\.weight and 1\.weight are one place .* different values",
        ):
            read()
    assert all(torch.equal(before[n], t) for n, t in tied.state_dict().items())
    with torch.no_grad():
        apart[1].weight.copy_(apart[0].weight)
    load(tied, save(apart, ours))
    assert torch.equal(tied[1].weight, apart[0].weight)


def test_views_of_one_memory_are_held_against_each_other(tmp_path: Path) -> None:
    whole = torch.arange(6.0)
    model, path = holding(whole=whole, part=whole[2:4]), tmp_path / "net.safetensors"
    load(model, save(holding(whole=torch.arange(6.0) + 1, part=torch.tensor([3.0, 4.0])), path))
    assert whole.tolist() == [1, 2, 3, 4, 5, 6]
    with pytest.raises(ValueError, match="whole and part are one place in memory"):
        load(model, save(holding(whole=torch.zeros(6), part=torch.ones(2)), path))
    assert whole.tolist() == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("view", [lambda w: w.view(torch.int32), lambda w: w.T], ids=["dtype", "transposed"])
def test_a_view_of_another_kind_is_no_tied_weight(tmp_path: Path, view: Any) -> None:
    def make() -> nn.Module:
        model = nn.Linear(3, 2)
        model.register_buffer("view", view(model.weight.data))
        return model

    model, new = make(), make()
    load(new, save(model, tmp_path / "net.safetensors"))
    assert alike(model, new)


@pytest.mark.parametrize(
    "buffer",
    [
        torch.eye(10).to(torch.float8_e4m3fn),
        torch.eye(10).to(torch.float8_e5m2),
        torch.tensor([1 + 2j, 3 - 1j]).conj(),
        torch.tensor([1 + 2j, 3 - 1j]).conj().imag,
        torch.arange(3.0).view(3, 1).expand(3, 4),
        torch.full((2, 2), -torch.inf).triu(1),
    ],
    ids=["float8_e4m3fn", "float8_e5m2", "conjugate", "negative", "expanded", "mask"],
)
def test_odd_buffers_come_back(tmp_path: Path, buffer: Tensor) -> None:
    model = holding(odd=buffer, plain=torch.ones(2))
    path = save(model, tmp_path / "net.safetensors")
    torch.save(model.state_dict(), tmp_path / "own.pt")
    save_snapshot(tmp_path / "run.pt", named_tensors(model), {}, [])
    for read in (lambda m: load(m, path), lambda m: load_weights(m, tmp_path / "own.pt")):
        new = holding(odd=buffer, plain=torch.zeros(2))
        read(new)
        assert alike(model, new)
    load_snapshot(tmp_path / "run.pt", named_tensors(model))


def test_a_tensor_that_repeats_its_values_takes_no_others(tmp_path: Path) -> None:
    model: Any = holding(mean=torch.ones(3, 1).expand(3, 4))
    other = holding(mean=torch.arange(12.0).view(3, 4))
    torch.save(other.state_dict(), tmp_path / "own.pt")
    before = model.weight.clone()
    path = save(other, tmp_path / "net.safetensors")
    for read in (lambda: load(model, path), lambda: load_weights(model, tmp_path / "own.pt")):
        with pytest.raises(ValueError, match=r"in this one mean is one place in memory .* clone"):
            read()
    assert torch.equal(before, model.weight)
    assert model.mean.tolist() == torch.ones(3, 4).tolist()


@pytest.mark.parametrize(
    ("buffer", "said"),
    [
        (torch.eye(3).to_sparse(), "is sparse or nested; keep it dense"),
        (torch.empty(3, device="meta"), r"is on the meta device, without values; .*to_empty\(\)"),
        (torch.ones(3, dtype=torch.complex128), "is of complex128, which safetensors has not"),
    ],
    ids=["sparse", "meta", "complex128"],
)
def test_what_no_file_holds_is_refused_by_name(tmp_path: Path, buffer: Tensor, said: str) -> None:
    path = save(nn.Linear(3, 2), tmp_path / "net.safetensors")
    before = path.read_bytes()
    with pytest.raises(ValueError, match=f"save: odd of the model {said}"):
        save(holding(odd=buffer), path)
    assert path.read_bytes() == before


def test_infinity_is_read_where_the_model_has_it_too_and_nowhere_else(tmp_path: Path) -> None:
    mask = torch.full((3, 3), -torch.inf).triu(1)
    for wrong in (mask.T, mask.nan_to_num(neginf=torch.inf), mask.masked_fill(mask == 0, torch.nan)):
        torch.save(holding(mask=wrong).state_dict(), tmp_path / "own.pt")
        with pytest.raises(ValueError, match=r"NaN or infinity in \['mask'\]"):
            load_weights(holding(mask=mask), tmp_path / "own.pt")
    model: Any = holding(mask=mask)
    model.weight.data[0, 0] = torch.inf
    torch.save(model.state_dict(), tmp_path / "own.pt")
    with pytest.raises(ValueError, match=r"NaN or infinity in \['weight'\]"):
        load_weights(model, tmp_path / "own.pt")


def test_a_negative_view_under_two_names(tmp_path: Path) -> None:
    def tied(value: complex) -> nn.Module:
        view = torch.tensor([value, 3 - 1j]).conj().imag
        assert view.is_neg()
        return holding(one=view, other=view)

    model = tied(1 + 2j)
    torch.save(model.state_dict(), tmp_path / "own.pt")
    new = tied(5j)
    for read in (lambda path: load(new, save(model, path)), lambda _: load_weights(new, tmp_path / "own.pt")):
        read(tmp_path / "net.safetensors")
        assert alike(model, new)
        new.one.zero_()  # pyright: ignore
