"""Exported files: a program of torch.export, which torch's own reader would run, and the description in any of them."""

from __future__ import annotations

import io
import json
import random
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fuzzing.target import Mutate, Place, WrongError, memory, taken
from fuzzing.trees import mutated
from secateur.deployment.engines import seal
from secateur.deployment.engines.engine import parsed
from secateur.deployment.engines.program import harmless
from secateur.deployment.engines.seal import check_seal
from secateur.deployment.export import export

_WORDS = ("__import__('os').system('x')", "Symbol('s1').__class__", "Pow(9, Pow(9, 9))", "torch.ops.load_library", "torch.load",
          "_operator.methodcaller", "torch.ops.aten.from_file.default", "torch.ops.aten.relu.default", "lambda: 0", "s0 + 1", "weight_0",
          "use_pickle", "expr_str", "target", "as_operator", "metadata", "guards_code", "../x", "opaque_obj_0", "builtins.tuple")  # fmt: skip
_PARTS = (
    "archive/data/constants/opaque_obj_0",
    "archive/data/weights/model.pt",
    "archive/data/aotinductor/x.so",
    "other/models/model.json",
    "archive/x",
)
_CALL = re.compile(r"torch\.ops\.(?!load)\w+\.\w+\.\w+|torch\.sym_\w+|math\.\w+|_operator\.\w+")


class _Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"seg": self.a(x).relu()}


class Program:
    """What torch is handed of a ``.pt2`` file."""

    name = "program"

    def __init__(self) -> None:
        self._place = Place(memory(), "program.pt2")

    def seeds(self) -> list[bytes]:
        """One as ``export`` writes it."""
        path = memory() / "seed.pt2"
        export(_Tiny(), torch.randn(2, 2), path)
        return [path.read_bytes()]

    def mutate(self, data: bytes, draw: random.Random, raw: Mutate) -> bytes:
        """The graph, the lists of tensors, the parts of the archive; mostly under a checksum that is right."""
        if draw.random() < 0.1:
            return raw(data)
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                parts = {name: archive.read(name) for name in archive.namelist()}
            texts = [name for name in parts if name.endswith(".json")]
            name = draw.choice(texts) if draw.random() < 0.85 else draw.choice(list(parts))
            if name in texts and draw.random() < 0.9:
                parts[name] = json.dumps(mutated(json.loads(parts[name]), draw, _WORDS)).encode(
                    "utf-8", "surrogatepass"
                )
            elif draw.random() < 0.5:
                parts[name] = raw(parts[name] or b"x")
            else:
                parts[draw.choice((*_PARTS, *parts))] = parts.pop(name)
            return archived(parts, zipfile.ZIP_DEFLATED if draw.random() < 0.05 else zipfile.ZIP_STORED)
        except Exception:  # what an earlier mutation left
            return raw(data)

    def check(self, data: bytes) -> bool:
        """Accepted holds no text that torch would evaluate, look up or unpickle, by another walk through all of it."""
        path = self._place.put(data)

        def read() -> tuple[io.BytesIO, str]:
            check_seal(path)
            return harmless(path)

        found = taken(read, path)
        if found is None:
            return False
        with zipfile.ZipFile(found[0]) as archive:
            for name in archive.namelist():
                if name.endswith(".json"):
                    judge(json.loads(archive.read(name)), "")
                elif "obj" in name or name.endswith(".so") or (name.endswith(".pt") and archive.read(name)):
                    raise WrongError(f"accepted with {name}")
        return True


class Description:
    """The metadata of any exported file."""

    name = "description"

    def __init__(self) -> None:
        self._path = Path("net.onnx")

    def seeds(self) -> list[bytes]:
        """As ``export`` writes them."""
        given = {"task": None, "shape": ["batch", 3, "height"], "example": [1, 3, 4]}
        about = {
            "version": 1,
            "tasks": {"seg": {"channels": 2}},
            "inputs": {"input": given},
            "dynamic": ["batch"],
            "mean": [0.5],
        }
        return [json.dumps(about).encode()]

    def mutate(self, data: bytes, draw: random.Random, raw: Mutate) -> bytes:
        """One value, or bytes."""
        try:
            if draw.random() < 0.8:
                return json.dumps(
                    mutated(json.loads(data), draw, ("task", "shape", "tasks", "inputs"))
                ).encode("utf-8", "surrogatepass")
        except Exception:  # what an earlier mutation left
            pass
        return raw(data)

    def check(self, data: bytes) -> bool:
        """Accepted has tasks and inputs with sizes."""
        text = data.decode("utf-8", "surrogateescape")
        about = taken(lambda: parsed(self._path, text), self._path)
        if about is None:
            return False
        inputs = about["inputs"].values()
        if (
            not about["tasks"]
            or not inputs
            or not all(isinstance(n, int) and n >= 0 for x in inputs for n in x["example"])
        ):
            raise WrongError("accepted, and describes no network")
        return all("task" in x for x in inputs)


def archived(parts: dict[str, bytes], way: int = zipfile.ZIP_STORED) -> bytes:
    """The archive of them under a checksum that is right."""
    path = memory() / "archived.pt2"
    with zipfile.ZipFile(path, "w", way) as archive:
        for name, value in parts.items():
            archive.writestr(zipfile.ZipInfo(name), value, way)
    seal(path)
    return path.read_bytes()


def judge(value: Any, key: str) -> None:
    """Raises WrongError where a text could run."""
    if isinstance(value, dict):
        if value.get("use_pickle"):
            raise WrongError("accepted with a pickle")
        for name, item in value.items():
            judge(item, name)
    elif isinstance(value, list):
        for item in value:
            judge(item, key)
    elif isinstance(value, str):
        if (key == "guards_code" and not value.isidentifier()) or (
            "__" in value and key in ("expr_str", "target", "as_operator")
        ):
            raise WrongError(f"accepted with {value!r:.80}")
        if key in ("target", "as_operator") and (
            not _CALL.fullmatch(value) or "file" in value or "method" in value
        ):
            raise WrongError(f"accepted with {value!r:.80}")
        if key == "expr_str" and ("." in value.replace("0.", "") or "lambda" in value):
            raise WrongError(f"accepted with {value!r:.80}")
