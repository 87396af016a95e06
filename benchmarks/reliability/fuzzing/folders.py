"""Run folders: what a report reads of one, and the configuration that says what is built."""

from __future__ import annotations

import io
import json
import random
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from fuzzing.target import Mutate, WrongError, memory, taken
from fuzzing.trees import deep, mutated
from secateur.runs.folder import RunFolder
from secateur.runs.report import read_run, report, templates

FILES = ("config.yaml", "report.json", "metrics.jsonl", "overlap.json", "samples.npz")
CONFIG = {
    "method": {"name": "Dense"},
    "data": {"name": "rooms"},
    "seed": 0,
    "betas": [0.9, 0.999],
    "size": "60x80",
}
_TASKS = {"seg": {"miou": 0.5}, "depth": {"abs": 0.2}}
_DENSITY = {"overall": 0.1, "components": {"backbone": 0.1}, "layers": {"a.weight": 0.1}}
REPORT: dict[str, Any] = {
    "name": "a", "dense": False, "method": "SoftThreshold", "weighting": "Equal", "tasks": _TASKS, "density": _DENSITY,
    "higher_is_better": {"seg": {"miou": True}, "depth": {"abs": False}},
    "params": {"total": 100, "prunable": 90, "nonzero": 19},
    "macs": {"dense": 10.0, "sparse": 1.0, "components": {"backbone": {"dense": 10.0, "sparse": 1.0}}, "input": [3, 6, 8]},
    "seed": 0, "steps": 20, "command": "secateur train", "hardware": "2 cores", "versions": {"torch": "2.11"}, "train_seconds": 1.5,
    "floors": {"asked": {"seg": 0.1}, "attempts": [{"density": 0.1, "lost": {"seg": 0.01}, "stopped_by": []}]},
}  # fmt: skip
_ROW = {
    "step": 10,
    "loss": {"seg": 1.0},
    "weight": {"seg": 1.0},
    "density": _DENSITY,
    "threshold": {"backbone": 0.1},
    "lr": 0.1,
}
_PART = {
    "weights": 9,
    "wanted": {"seg": 0.5, "depth": 0.5},
    "overlap": {"seg+depth": 0.3},
    "needed_by": {"seg": 3, "seg+depth": 2, "": 4},
}
_OVERLAP = {"density": 0.1, "chance": 0.2, "total": _PART, "layers": {"a.weight": _PART}}


def whole() -> dict[str, bytes]:
    """Every file of a folder, as a run leaves it."""
    pictures = io.BytesIO()
    image = np.zeros((2, 2, 3), np.uint8)
    np.savez(pictures, **{"input/0": image, "seg/truth/0": image, "seg/prediction/0": image})
    lines = [json.dumps(_ROW), json.dumps({**_ROW, "step": 20}), json.dumps({"step": 20, "val": _TASKS})]
    texts = [yaml.safe_dump(CONFIG), json.dumps(REPORT), "\n".join(lines) + "\n", json.dumps(_OVERLAP)]
    return dict(zip(FILES, [*(text.encode() for text in texts), pictures.getvalue()], strict=True))


class Folder:
    """``read_run`` and ``RunFolder``; an input's first byte says which file of a whole folder it takes the place of."""

    name = "folder"
    code = (str(Path(templates.__file__).with_name("template.html.j2")),)  # of the page

    def __init__(self) -> None:
        self._folder, self._whole = memory() / "run", whole()
        self._folder.mkdir(parents=True, exist_ok=True)
        for name, data in self._whole.items():
            (self._folder / name).write_bytes(data)
        # what it imports late is there before anything is heard
        report([self._folder], memory() / "page.html")

    def seeds(self) -> list[bytes]:
        """Each file as it is."""
        return [bytes([place]) + data for place, data in enumerate(self._whole.values())]

    def mutate(self, data: bytes, draw: random.Random, raw: Mutate) -> bytes:
        """One value of what the file holds, or its bytes."""
        place, content = data[:1], data[1:]
        name = FILES[place[0] % len(FILES)] if place else FILES[0]
        try:
            if draw.random() < 0.2:
                return place + raw(content)
            return place + _other(name, content, draw, raw)
        except Exception:  # what an earlier mutation left
            return place + raw(content)

    def check(self, data: bytes) -> bool:
        """Accepted is of the types that a record has; one in five hundred is laid out as a page as well."""
        if not data:
            return False
        name, content = FILES[data[0] % len(FILES)], data[1:]
        path = self._folder / name
        path.write_bytes(content)
        try:
            found = taken(lambda: read_run(self._folder), path)
            if name == FILES[1]:
                taken(RunFolder(self._folder).read_report, path)
            if found is None:
                return False
            self._judge(name, found)
            if zlib.crc32(data) % 500 == 0:
                report([self._folder], memory() / "page.html")
            return True
        finally:
            path.write_bytes(self._whole[name])

    def _judge(self, name: str, found: Any) -> None:
        numbers = [v for values in found.tasks.values() for v in values.values()]
        numbers += [v for _, values in found.validation for task in values.values() for v in task.values()]
        numbers += [found.density.overall, *found.params.values(), found.macs.dense, found.train_seconds]
        if not all(type(number) is float for number in numbers):
            raise WrongError(f"{name} was accepted with what are no numbers")
        if not isinstance(found.config, dict):
            raise WrongError(f"{name} was accepted, and the configuration is none")
        if (steps := [row.step for row in found.train]) != sorted(set(steps)):
            raise WrongError(f"{name} was accepted with steps out of order")


def _other(name: str, content: bytes, draw: random.Random, raw: Mutate) -> bytes:
    if name.endswith(".npz"):
        with np.load(io.BytesIO(content)) as archive:
            arrays = {key: archive[key] for key in archive.files}
        key = draw.choice(list(arrays))
        value = arrays.pop(key)
        changes = (value.astype(float), value[0], value[:0], value.T, np.asarray(3), np.asarray(["a"]), value)
        arrays[draw.choice((key, "x", "", "a/b", "seg/truth/9"))] = draw.choice(changes)
        file = io.BytesIO()
        np.savez(file, **arrays)
        return file.getvalue()
    if name.endswith(".yaml"):
        return recipe_text(yaml.safe_load(content), draw).encode("utf-8", "surrogatepass")
    lines = content.splitlines()
    at = draw.randrange(len(lines))
    tree = deep(draw) if draw.random() < 0.02 else mutated(json.loads(lines[at]), draw, list(_DENSITY))
    lines[at] = json.dumps(tree).encode("utf-8", "surrogatepass")
    return b"\n".join(lines) + b"\n"


def recipe_text(content: Any, draw: random.Random, words: tuple[str, ...] = ()) -> str:
    """YAML of another content, with what YAML alone can say: tags, aliases, several documents."""
    tree = mutated(content, draw, words)
    text = yaml.safe_dump(tree, default_flow_style=draw.choice((None, True, False)))
    if draw.random() < 0.3:
        at = draw.randrange(len(text) + 1)
        odd = ("&a ", "*a", "!!bool x", "!!timestamp x", "!!int x", "!!float x", "!!binary x", "!!set {a}", "!!omap [a]", "<<: *a", "? ", "\n---\n",
               "!!python/object/apply:os.system [x]", "!!python/name:os.system", "%TAG ! x", "{" * 50, "[" * 400, "\t", "'", '"', "|", "- ", "#",
               "class_path: os.system", "a: &a [*a]\n", "0o7", "1:1", ".inf", "2001-01-01", "=", "~", "config: x\n", "trust: os\n")  # fmt: skip
        text = text[:at] + draw.choice(odd) + text[at:]
    return text


def put(path: Path, data: bytes) -> Path:
    """Writes ``data``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path
