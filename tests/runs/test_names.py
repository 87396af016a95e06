"""What a name may be: ours of its kind, or somebody's whom the command line trusts."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from my_lab import CALLBACK, PARTS, Lab
from secateur.pruning import Sparsifier
from secateur.runs import names
from secateur.runs.arguments import trusted
from secateur.runs.config import build, parse, resolved
from secateur.runs.names import ROOMS, Kind, Trust, find, ours
from secateur.runs.written import read_recipe

KINDS: tuple[Kind, ...] = get_args(Kind)
_MODULES = sorted(
    m for m in sys.stdlib_module_names if not m.startswith("_") and m not in ("antigravity", "this")
)
_WORDS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    made = Lab(tmp_path, monkeypatch)
    yield made
    made.forget()


@pytest.fixture
def only_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing anything by a name that is not ours fails the test."""

    def watched(name: str) -> Any:
        assert name.startswith("secateur."), name
        return importlib.import_module(name)

    monkeypatch.setattr(names, "importlib", SimpleNamespace(import_module=watched))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(_MODULES), st.lists(_WORDS, min_size=1, max_size=3), st.sampled_from(KINDS))
@example("os", ["system"], "data")
@example("subprocess", ["run"], "model")
@example("builtins", ["exec"], "method")
@example("pathlib", ["Path", "touch"], "weighting")
@example("secateur", ["storage", "write_text"], "aggregator")
def test_no_dotted_name_is_imported_by_itself(
    only_ours: None, module: str, words: list[str], kind: Kind
) -> None:
    name = ".".join([module, *words])
    with pytest.raises(ValueError, match=rf"^f\.yaml names {kind} ") as refused:
        find(kind, name, Trust(frozenset({"my_lab"})).reading("f.yaml"))
    assert f"say --trust {module}." in str(refused.value) or "no name" in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("data", "Loading"), ("data", "FRAMES"), ("data", "dense_data"), ("data", "reading"), ("data", "TooFewError"),
        ("weighting", "adaptive_weights"), ("weighting", "adaptive"), ("model", "os"), ("model", "blocks"),
        ("model", "__doc__"), ("method", "__builtins__"), ("method", "soft_threshold"), ("method", "Equal"),
        ("aggregator", "__builtins__"), ("aggregator", "UPGradWeighting"), ("aggregator", "Tensor"),
        ("data", ""), ("data", "."), ("data", "a..b"), ("data", "os."), ("data", ".os"), ("data", "a/b"),
        ("model", None), ("model", 3), ("model", ["os", "system"]), ("model", {"os": "system"}),
        ("model", "my_lab.__init__"), ("model", "my_lab.net.__globals__"),
    ],
)  # fmt: skip
def test_what_is_no_part_is_refused(only_ours: None, kind: Kind, name: object) -> None:
    with pytest.raises(ValueError, match=r"no such|no name|no aggregator"):
        find(kind, name, Trust(frozenset({"my_lab"})))


def test_ours_are_those_of_the_kind() -> None:
    assert {"rooms", "nyuv2"} <= set(ours("data"))
    assert set(ours("weighting")) == {
        "AdaptiveWeighting", "DynamicWeightAverage", "Equal", "Fixed", "MinMax", "UncertaintyWeighting", "Weighting"
    }  # fmt: skip
    assert find("method", "Dense") is Sparsifier
    with pytest.raises(ValueError, match=r"Ours are AdaptiveWeighting, .*Weighting; your own") as refused:
        find("weighting", "nothing")
    assert "adaptive_weights" not in str(refused.value)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_trusted_is_found(kind: Kind, lab: Lab) -> None:
    name = {**PARTS, "callback": CALLBACK}[kind]
    for words in (["--trust", "her_lab"], ["--trust=my_la"], [f"--{kind}", "my_lab.other"], ["--seed", name]):
        with pytest.raises(ValueError, match=f"names {kind} {name}, which is not ours.*--trust my_lab"):
            find(kind, name, trusted(words).reading("f.yaml"))
    assert not lab.imported
    said = "--callbacks" if kind == "callback" else f"--{kind}"
    for words in (["--trust", "my_lab"], ["--trust=her_lab, my_lab"], [f"--trust={name}"], [said, name], [f"{said}={name}"]):  # fmt: skip
        assert find(kind, name, trusted(words)).__name__ == name.rpartition(".")[2]
    assert lab.imported


def test_a_name_on_the_command_line_is_of_its_kind_alone(lab: Lab) -> None:
    with pytest.raises(ValueError, match="not ours"):
        find("model", "my_lab.streets", trusted(["--data", "my_lab.streets"]))
    assert not lab.imported


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("data", "my_lab.run", "which is of subprocess, and that --trust does not name"),
        ("model", "my_lab.deeplab_resnet34", "which is of secateur.zoo"),
        ("method", "my_lab.GradualMagnitude", "which is of secateur.methods"),
        ("model", "my_lab.NUMBER", "which is of None"),
        ("model", "my_lab.absent", "no such model"),
        ("model", "my_lab.absent.net", "no such model"),
        (
            "method",
            "my_lab.Weights",
            "is the class Weights; a method is a class that derives from secateur.Sparsifier",
        ),
        ("method", "my_lab.net", "is a function; a method is a class"),
        ("weighting", "my_lab.Method", "a weighting is a class that derives from secateur.Weighting"),
    ],
)
def test_a_trusted_module_hands_out_its_own_parts_of_the_kind_alone(
    kind: Kind, name: str, said: str, lab: Lab
) -> None:
    with pytest.raises(ValueError, match=said):
        find(kind, name, trusted(["--trust", "my_lab"]).reading("f.yaml"))


def test_what_a_part_returns_is_looked_at(lab: Lab) -> None:
    trust = trusted(["--trust", "my_lab"]).reading("f.yaml")
    for kind, wanted in (("data", "Data"), ("model", "Module")):
        with pytest.raises(
            ValueError, match=rf"{kind} my_lab.nothing returned NoneType; it must return a .*{wanted}"
        ):
            build(kind, {kind: {"name": "my_lab.nothing"}}, trust)
    with pytest.raises(
        ValueError, match=r"f\.yaml: model my_lab\.net: got an unexpected .*'hight'; it takes tasks\."
    ):
        build("model", {"model": {"name": "my_lab.net", "hight": 3}}, trust, tasks={"seg": 1})
    with pytest.raises(ValueError, match="--trust is 'a b'; give a package"):
        trusted(["--trust", "a b"])


_CLASS = "{class_path: my_lab.Mean, init_args: {}}"


@pytest.mark.parametrize("value", ["my_lab.Mean", _CLASS, "'{\"class\\u005fpath\": my_lab.Mean}'"])
@pytest.mark.parametrize(
    "line",
    [
        "method: {name: GroupLasso, density: 0.3, groups: VALUE}",
        "method: {name: GroupLasso, density: 0.3}\nmethod.groups: VALUE",
        "method: {name: SoftThreshold, components: VALUE}",
        "method: {name: OneShot, distribution: VALUE}",
        "method: VALUE",
        "method: {name: VALUE}",
        "method.name: VALUE",
        "model: {name: transformer_encoder, config: VALUE}",
        "model: {name: transformer_encoder, config: {a: [{b: VALUE}]}}",
        "model: {name: transformer_encoder, config.class_path: my_lab.Mean}",
        "model: {name: shared_bottom, options: VALUE}",
        "model: {name: shared_bottom, options: {norm_layer: VALUE}}",
        "model: {name: shared_bottom, width: VALUE}",
        "weighting: {name: Fixed, weights: {seg: VALUE}}",
        "data: {name: hf_images, root: x, labels: VALUE}",
        "aggregator: VALUE",
        "aggregator: {name: VALUE}",
        "aggregator: {name: Constant, weights: [VALUE]}",
        "floors: {seg: VALUE}",
        "betas: [VALUE, 0.1]",
        "steps: VALUE",
        "trust: my_lab\nmethod: {name: my_lab.Method}",
        "config: OTHER",
    ],
)  # fmt: skip
def test_no_parser_of_a_recipe_imports(line: str, value: str, lab: Lab, tmp_path: Path) -> None:
    other, recipe = tmp_path / "other.yaml", tmp_path / "mine.yaml"
    other.write_text(
        "model: {name: transformer_encoder, config: {class_path: my_lab.Mean}}\n", encoding="utf-8"
    )
    recipe.write_text(line.replace("VALUE", value).replace("OTHER", str(other)), encoding="utf-8")
    for argv in (
        [str(recipe)],
        ["dense", "--config", str(recipe)],
        ["dense", f"--config={recipe}", "--steps=2"],
    ):
        with suppress(SystemExit), suppress(ValueError):
            resolved(parse(argv))
        assert not lab.imported


@pytest.mark.parametrize(
    "text",
    [
        "class_path: [[]]",
        "method: {name: Dense, class_path: []}",
        "data: {name: rooms, a: [{b.class_path: {}}]}",
        "data: {name: rooms, a: &a {b: 1}, class_path: *a}",
        "steps: '{class_path: []}'",
    ],
)
def test_a_class_is_refused_in_a_recipe_whatever_it_is(text: str, tmp_path: Path) -> None:
    """Also where nothing stands behind the word, or what stood elsewhere before."""
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"mine\.yaml: .*class_path names a class to import"):
        read_recipe(path)


def test_files_hold_plain_values(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    for text in ("!!python/object/apply:os.system ['true']", "just text", "[1]", "a: [", "a: &a [*a]"):
        recipe.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=r"mine\.yaml"):
            parse([str(recipe)])
    bomb = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))  # fmt: skip
    from secateur.runs.written import read_recipe

    recipe.write_text(bomb, encoding="utf-8")
    assert set(read_recipe(recipe)) == set("abcdefghi")


def test_a_recipe_says_not_where_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    recipe = tmp_path / "mine.yaml"
    for out in (str(tmp_path / "there"), "../there", "~/../../there/.."):
        recipe.write_text(yaml.safe_dump({"out": out}), encoding="utf-8")
        if Path(out).resolve().is_relative_to(Path.cwd()):
            continue
        with pytest.raises(ValueError, match="outside of this one; give --out yourself"):
            parse([str(recipe)])
        assert parse([str(recipe), "--out", str(tmp_path / "there")]).out
    recipe.write_text("out: runs/mine\n", encoding="utf-8")
    assert parse([str(recipe)]).out == "runs/mine"


def test_every_kind_has_a_room_or_is_of_a_library() -> None:
    assert set(KINDS) == {*ROOMS, "aggregator", "optimizer", "callback"}
