"""Checkpoints of a training, taken up by everything that goes on from one."""

from __future__ import annotations

import io
import json
import pickletools
import random
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fuzzing.target import Mutate, Place, WrongError, memory, taken
from fuzzing.trees import ODD, mutated
from secateur.methods import SoftThreshold
from secateur.problem import Problem, Task
from secateur.storage import named_tensors
from secateur.training import Pruning, adam
from secateur.training.resuming.resumption import Resumption
from secateur.training.resuming.stream import Stream
from secateur.weighting import UncertaintyWeighting

_MARK = b"secateur crc32 "
_STEPS = 8


class Two(nn.Module):
    """Two heads on one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(N, 3) -> a (N, 2), b (N, 1)."""
        shared = self.trunk(x).relu()
        return {"a": self.a(shared), "b": self.b(shared)}


class Training:
    """One that has begun, with all that a checkpoint of it holds."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        x = torch.randn(4, 3)
        batches = [(x, {"a": x[:, :2], "b": x[:, 2:]})] * 3
        self.model = Two()
        problem = Problem(self.model, {"a": Task(F.mse_loss), "b": Task(F.l1_loss)}, batches)
        self.pruning = Pruning(
            problem, SoftThreshold(density=0.5), UncertaintyWeighting(), steps=_STEPS
        ).enter()
        self.optimizer = self.pruning.attach(adam()(self.pruning.groups()))
        self.stream, self.tensors = Stream(batches), named_tensors(self.model)

    def resumption(self, path: Any) -> Resumption:
        """Of this training and the file at ``path``."""
        return Resumption(path, self.tensors, {"pruning": self.pruning}, self.stream, {"seed": 0})

    def step(self) -> None:
        """One."""
        x, targets = next(self.stream)
        self.pruning.loss(self.model(x), targets, x).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.pruning.step()

    def held(self) -> list[bytes]:
        """What a refusal leaves as it was."""
        with torch.no_grad():
            values = [t.detach().numpy().tobytes() for t in self.tensors.values()]
        moments = [v for state in self.optimizer.state.values() for v in state.values()]
        return [*values, *(m.numpy().tobytes() for m in moments), torch.get_rng_state().numpy().tobytes()]


class Checkpoints:
    """Going on from a file."""

    name = "checkpoint"

    def __init__(self) -> None:
        self._place = Place(memory(), "checkpoint.pt")
        self._training = Training()
        self._before = self._training.held()

    def seeds(self) -> list[bytes]:
        """Checkpoints of this training, after some steps and after all."""
        made, found = Training(), list[bytes]()
        path = self._place.path.with_name("seed.pt")
        for step in range(1, _STEPS + 1):
            made.step()
            if step in (3, _STEPS):
                made.resumption(path).save(step, made.optimizer, [{"step": step}], 1.5)
                found.append(path.read_bytes())
        self._again()
        return found

    def mutate(self, data: bytes, draw: random.Random, raw: Mutate) -> bytes:
        """Values in the pickle, its instructions, records of the archive; mostly with checksums that are right."""
        way = draw.random()
        if way < 0.1:
            return raw(data)
        try:
            records = dict(_records(data))
            if way < 0.5:
                return _saved(mutated_state(torch.load(io.BytesIO(data), weights_only=True), draw), draw)
            name = (
                draw.choice([n for n in records if n.endswith("data.pkl")])
                if way < 0.8
                else draw.choice(list(records))
            )
            if way < 0.7 and name.endswith("data.pkl"):
                records[name] = _instructions(records[name], draw)
            else:
                records[name] = raw(records[name]) if records[name] else b"x"
            return sealed(packed(records))
        except Exception:  # what an earlier mutation left
            return raw(data)

    def check(self, data: bytes) -> bool:
        """Accepted is whole: the seal is right, and model and optimizer have what the file says."""
        path, training = self._place.put(data), self._training
        found = taken(lambda: training.resumption(path).load(training.optimizer), path)
        self._place.unchanged(data)
        if found is None:
            if training.held() != self._before:
                self._again()
                raise WrongError("refused, and the model, the optimizer or the random state is changed")
            return False
        held = {n: t.detach().clone() for n, t in training.tensors.items()}
        done = training.pruning.done
        self._again()
        if data[-23:-8] == _MARK and f"{zlib.crc32(data[:-23]):08x}".encode() != data[-8:]:
            raise WrongError("accepted, and its checksum is another")
        if any(found["model"][n].numpy().tobytes() != t.numpy().tobytes() for n, t in held.items()):
            raise WrongError("accepted, and the model has other values")
        if found["decides"] != {"seed": 0} or found["step"] != done or not 0 <= done <= _STEPS:
            raise WrongError(f"accepted, at step {found['step']} of {done}")
        if not isinstance(found["rows"], list) or not isinstance(found["seconds"], (int, float)):
            raise WrongError("accepted, and its history is none")
        return True

    def _again(self) -> None:
        self._training = Training()
        self._before = self._training.held()


def mutated_state(state: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    """A state with other values, entries, shapes or dtypes, and mostly an outline that agrees with it."""
    leaves = list(_leaves(state))
    holder, key = draw.choice(leaves)
    value = holder[key]
    if key in ("rows", "outline"):
        holder[key] = json.dumps(mutated(json.loads(value), draw))
    elif isinstance(value, Tensor):
        holder[key] = draw.choice(
            (value.double, value.flatten, value[:1].clone if value.dim() else value.clone, value.to_sparse, value.bool,
             lambda: value * float("nan"), lambda: value.unsqueeze(0), lambda: torch.zeros(()), lambda: value.to("meta"),
             lambda: value.expand(2, *value.shape), value.half, lambda: value * 3, lambda: None, lambda: [1])
        )()  # fmt: skip
    elif draw.random() < 0.15 and isinstance(holder, dict):
        del holder[key]
    elif draw.random() < 0.15 and isinstance(holder, dict):
        holder[draw.choice(("more", "0", 0, "step", ""))] = value
    else:
        tries = [v for v in ODD if not (isinstance(v, int) and abs(v) > 2**62) and v != "\ud800"]
        more = [value + 1, -value, float(value)] if isinstance(value, (int, float)) else []
        holder[key] = draw.choice([*tries, *more])
    return state


def _saved(state: dict[str, Any], draw: random.Random) -> bytes:
    from secateur.storage.outline import outline

    if draw.random() < 0.9:
        state["outline"] = json.dumps(outline({k: v for k, v in state.items() if k != "outline"}))
    file = io.BytesIO()
    torch.save(state, file)
    return sealed(file.getvalue())


def _leaves(value: Any) -> Iterator[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield value, key
        yield from _leaves(item)


def _instructions(code: bytes, draw: random.Random) -> bytes:
    """A pickle with one instruction less, twice, or with another argument."""
    places = [at for _, _, at in pickletools.genops(code) if at is not None]
    at = draw.randrange(len(places) - 1)
    low, high = places[at], places[at + 1]
    way = draw.randrange(5)
    if way == 0:
        return code[:low] + code[high:]
    if way == 1:
        return code[:high] + code[low:]
    if way == 2 and high - low > 1:
        place = draw.randrange(low + 1, high)
        return code[:place] + bytes([draw.randrange(256)]) + code[place + 1 :]
    if way == 3:
        words = (b"cos\nsystem\n", b"cbuiltins\neval\n", b"ctorch\nload\n", b"ctorch.storage\nUntypedStorage\n", b"R", b"b", b"N", b"}",
                 b"ctorch._utils\n_rebuild_sparse_tensor\n", b"ctorch._utils\n_rebuild_meta_tensor_no_storage\n", b"K\xff",
                 b"J\xff\xff\xff\x7f", b"\x8a\x08" + b"\xff" * 7 + b"\x7f", b"ccollections\nOrderedDict\n", b")", b"t", b"(", b".")  # fmt: skip
        return code[:low] + draw.choice(words) + code[draw.choice((low, high)) :]
    return code[:low] + bytes([draw.randrange(256)]) + code[low + 1 :]


def _records(data: bytes) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            yield name, archive.read(name)


def packed(records: dict[str, bytes]) -> bytes:
    """The archive of them."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, value in records.items():
            archive.writestr(zipfile.ZipInfo(name), value)
    return file.getvalue()


def sealed(data: bytes) -> bytes:
    """With the checksum as the archive's comment, as one who gets it right writes it."""
    data = data[:-2] + struct.pack("<H", len(_MARK) + 8)
    return data + _MARK + b"%08x" % zlib.crc32(data)
