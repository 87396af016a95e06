"""Recipes and configurations, and the names in them: nothing that a file names is imported."""

from __future__ import annotations

import random
from contextlib import suppress
from functools import cache
from inspect import isclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import yaml
from jsonargparse import Namespace

from fuzzing.folders import CONFIG, put, recipe_text
from fuzzing.target import Mutate, WrongError, memory, taken
from secateur.runs import config, written
from secateur.runs.folder import RunFolder
from secateur.runs.names import ROOMS, Kind, Trust, find, ours

_WORDS = ("name", "data", "model", "method", "weighting", "aggregator", "class_path", "init_args", "trust", "config", "out", "data.name",
          "rooms", "Dense", "SoftThreshold", "os.system", "subprocess.run", "builtins.eval", "secateur.storage.load", "density", "my_lab.Net",
          "deeplab_resnet34", "Equal", "pathlib.Path", "torch.nn.Linear", "components", "size", "{class_path: os.system}")  # fmt: skip
RECIPE = {"method": {"name": "SoftThreshold", "density": 0.1}, "weighting": {"name": "AdaptiveWeighting"}, "model.width": 0.5,
          "data": {"name": "rooms", "count": 9}, "lr": 0.1, "aggregator": {"name": "UPGrad"}}  # fmt: skip


class Recipe:
    """``parse`` of a recipe, up to the parser of the command line, which takes a thousand times as long."""

    name = "recipe"

    def __init__(self) -> None:
        self._path = memory() / "recipe.yaml"
        written.get_type_hints = cache(get_type_hints)  # pyright: ignore[reportAttributeAccessIssue]
        # hints of our own parts are code, which runs now, before anything is heard
        for part in (part for kind in ROOMS for part in ours(kind).values()):
            with suppress(NameError, TypeError, AttributeError):
                written.get_type_hints(part.__init__ if isclass(part) else part)
        config.parser_of = lambda recipe, targets, exits: _Parser()  # pyright: ignore[reportAttributeAccessIssue]

    def seeds(self) -> list[bytes]:
        """A recipe, and the configuration of a run."""
        return [yaml.safe_dump(content).encode() for content in (RECIPE, CONFIG)]

    def mutate(self, data: bytes, draw: random.Random, raw: Mutate) -> bytes:
        """Values, keys and what YAML can say beside them; or bytes."""
        try:
            if draw.random() < 0.8:
                return recipe_text(yaml.safe_load(data), draw, _WORDS).encode("utf-8", "surrogatepass")
        except Exception:  # what an earlier mutation left
            pass
        return raw(data)

    def check(self, data: bytes) -> bool:
        """Accepted names parts of ours alone, and no class to import."""
        path = put(self._path, data)
        found = taken(lambda: config.parse([str(path)]), path)
        if found is None:
            return False
        content = yaml.safe_load(data.decode()) if data.strip() else {}
        for kind in ROOMS:
            part = content.get(kind) or {}
            name = content.get(f"{kind}.name", part.get("name", None))
            if name is not None and name not in ours(kind):
                raise WrongError(f"accepted with {kind} {name!r}")
        if "class_path" in str(content) and _names_a_class(content):
            raise WrongError("accepted with a class to import")
        return True


class Config:
    """``config.yaml`` of a folder, to the parts that it names; they are looked up, and not called."""

    name = "config"

    def __init__(self) -> None:
        self._folder = RunFolder(memory() / "of config")
        put(self._folder.config, b"")
        for kind in ROOMS:
            ours(kind)

    def seeds(self) -> list[bytes]:
        """Of a run."""
        return [yaml.safe_dump({**CONFIG, **RECIPE, "model": {"name": "deeplab_resnet34"}}).encode()]

    def mutate(self, data: bytes, draw: random.Random, raw: Mutate) -> bytes:
        """As of a recipe."""
        return Recipe.mutate(self, data, draw, raw)  # pyright: ignore[reportArgumentType]

    def check(self, data: bytes) -> bool:
        """Accepted is what YAML says, and names parts of ours alone."""
        path = put(self._folder.config, data)

        def read() -> dict[str, Any]:
            found = self._folder.read_config()
            for kind in ROOMS:
                options = config.options_of(found, kind, path)
                find(kind, options.get("name"), Trust().reading(path))
            return found

        found = taken(read, path)
        if found is None:
            return False
        if repr(found) != repr({str(k): v for k, v in yaml.safe_load(data.decode()).items()}):
            raise WrongError("accepted, and it is not what the file says")
        return True


class Names:
    """``find``: a kind and a name, under a trust in one package."""

    name = "names"

    def __init__(self) -> None:
        self._trust = Trust(frozenset({"my_lab"}), frozenset({("model", "her_lab.Net")}), "names.yaml")
        self._kinds: tuple[Kind, ...] = tuple(get_args(Kind))

    def seeds(self) -> list[bytes]:
        """Names of ours, of the trusted and of others."""
        return [bytes([place % 5]) + word.encode() for place, word in enumerate(_WORDS)]

    def mutate(self, data: bytes, draw: random.Random, raw: Mutate) -> bytes:
        """Words and dots, put together otherwise."""
        if draw.random() < 0.5:
            return raw(data)
        words = [
            *data[1:].decode("utf-8", "replace").split("."),
            draw.choice(_WORDS),
            draw.choice(("__init__", "", "my_lab", "her_lab", "é", "a b")),
        ]
        draw.shuffle(words)
        return bytes([draw.randrange(5)]) + ".".join(words[: draw.randrange(1, 4)]).encode("utf-8", "replace")

    def check(self, data: bytes) -> bool:
        """Accepted is one of ours by its plain name, or a name that the command line covers."""
        if not data:
            return False
        kind, name = self._kinds[data[0] % len(self._kinds)], data[1:].decode("utf-8", "surrogateescape")

        def look() -> str:
            found = self._trust.check(kind, name)
            if "." not in found and kind != "aggregator":
                find(kind, found, self._trust)
            return found

        if taken(look, Path("names.yaml")) is None:
            return False
        plain = "." not in name and (kind == "aggregator" or name in ours(kind))
        if not plain and not name.startswith("my_lab.") and (kind, name) != ("model", "her_lab.Net"):
            raise WrongError(f"{name!r} may be a {kind}")
        return True


class _Parser:
    """Takes the place of jsonargparse's, which reads again what has been checked."""

    def read(self, argv: Any) -> Namespace:
        """Nothing but the recipe."""
        return Namespace(out=None, recipe=argv[0])

    def check_keys(self, path: Path, content: Any) -> None:
        """Nothing."""

    def check_least(self, arguments: Namespace, least: Any) -> None:
        """Nothing."""


def _names_a_class(value: Any) -> bool:
    if isinstance(value, dict):
        return any("class_path" in str(key).split(".") or _names_a_class(item) for key, item in value.items())
    return isinstance(value, list) and any(map(_names_a_class, value))
