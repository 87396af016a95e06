"""An exported file is taken as it was written or refused by name, and reading one never runs what it says."""

from __future__ import annotations

import contextlib
import json
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from secateur.deployment.engines import EngineMissingError, load_engine, seal
from secateur.deployment.engines.program import harmless
from secateur.deployment.export import Format, describe, export, require

SUFFIXES: dict[str, Format] = {"onnx": "onnx", "pt2": "pt2", "xml": "openvino", "pte": "executorch"}
RUN = "__import__('pathlib').Path('ran').touch()"


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 2, 1), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        found = self.a(x).relu()
        return {"seg": found, "kind": self.b(found.mean((2, 3)))}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Name of a file to its bytes, of every format that can be written here."""
    folder = tmp_path_factory.mktemp("exported")
    for suffix, kind in SUFFIXES.items():
        with contextlib.suppress(EngineMissingError):
            require(kind)
            export(Small().eval(), torch.randn(2, 3, 4, 4), folder / f"net.{suffix}")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def put(folder: Path, written: dict[str, bytes]) -> None:
    for name, data in written.items():
        (folder / name).write_bytes(data)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_is_not_as_it_was_written_is_refused(
    suffix: str, written: dict[str, bytes], tmp_path: Path
) -> None:
    if f"net.{suffix}" not in written:
        pytest.skip(f"its engine is not installed: pip install 'secateur[{SUFFIXES[suffix]}]'")
    put(tmp_path, written)
    path, draw = tmp_path / f"net.{suffix}", random.Random(0)
    assert list(describe(path)["tasks"]) == ["seg", "kind"]
    whole = path.read_bytes()
    for tried in range(200):
        at, changed = draw.randrange(len(whole)), bytearray(whole)
        changed[at] ^= 1 << draw.randrange(8)
        path.write_bytes((whole[:at], bytes(changed), whole + b"\n")[tried % 3])
        with pytest.raises(ValueError, match=rf"net\.{suffix} .*export it again"):
            describe(path)


@pytest.mark.parametrize("how", [lambda d: d[:-1], lambda d: bytes([d[0] ^ 1]) + d[1:], lambda _: b""])
def test_the_weights_beside_an_xml_count(
    how: Callable[[bytes], bytes], written: dict[str, bytes], tmp_path: Path
) -> None:
    put(tmp_path, written)
    path = tmp_path / "net.bin"
    path.write_bytes(how(path.read_bytes()))
    with pytest.raises(ValueError, match=r"net\.xml is damaged"):
        load_engine(tmp_path / "net.xml")


Parts = dict[str, bytes]
MODEL, WEIGHTS = "archive/models/model.json", "archive/data/weights/model_weights_config.json"


def changed(name: str, change: Callable[[Any], object]) -> Callable[[Parts], object]:
    def apply(parts: Parts) -> None:
        content = json.loads(parts[name])
        change(content)
        parts[name] = json.dumps(content).encode()

    return apply


def target(name: str) -> Callable[[Parts], object]:
    return changed(MODEL, lambda c: c["graph_module"]["graph"]["nodes"][0].update(target=name))


def size(text: str) -> Callable[[Parts], object]:
    def change(content: Any) -> None:
        content["graph_module"]["graph"]["tensor_values"]["tensors_0"]["sizes"][0]["as_expr"]["expr_str"] = (
            text
        )

    return changed(MODEL, change)


def of_weights(**settings: Any) -> Callable[[Parts], object]:
    return changed(WEIGHTS, lambda c: c["config"]["model.a.weight"].update(settings))


def renamed(content: Any) -> None:
    content["graph_module"]["graph"]["nodes"][0]["outputs"][0]["as_tensor"]["name"] = f"x = {RUN}; conv2d"


def tree(content: Any) -> None:
    signature = content["graph_module"]["module_call_graph"][0]["signature"]
    signature["in_spec"] = signature["in_spec"].replace("builtins.tuple", "os.system")


HOSTILE = {
    "an expression that is code": size(RUN),
    "an expression with an attribute": size("Symbol('s1').__class__"),
    "an expression without end": size("Pow(9, Pow(9, Pow(9, 9)))"),
    "an expression that names what is no symbol": size("Symbol('s1, x=print(1)')"),
    "a library as an operator": target("torch.ops.load_library"),
    "a way through attributes": target("torch.ops.aten.relu.default.__class__"),
    "a function of Python": target("_operator.methodcaller"),
    "a function of torch": target("torch.load"),
    "an operator that opens files": target("torch.ops.aten.from_file.default"),
    "an operator of somebody": target("torch.ops.mine.op.default"),
    "a name that is code": changed(MODEL, renamed),
    "a kind of container": changed(MODEL, tree),
    "a pickled weight": of_weights(use_pickle=True),
    "a weight of elsewhere": of_weights(path_name="../../../etc/passwd"),
    "an object": changed(MODEL, lambda c: c["graph_module"].update(as_custom_obj={"name": "x", "class_fqn": "y"})),
    "another file": lambda parts: parts.update({"archive/data/constants/opaque_obj_0": b"cos\nsystem\n."}),
    "a compiled library": lambda parts: parts.update({"archive/data/aotinductor/model/x.so": b""}),
    "a second network": lambda parts: parts.update({"archive/models/other.json": parts[MODEL]}),
    "no network": lambda parts: parts.pop(MODEL),
    "no JSON": lambda parts: parts.update({MODEL: b"{"}),
    "a deep nest": lambda parts: parts.update({MODEL: b"[" * 100_000}),
    "no description": lambda parts: parts.pop("archive/extra/secateur.json"),
    "a description of nothing": lambda parts: parts.update({"archive/extra/secateur.json": b'{"tasks": 3}'}),
}  # fmt: skip


def rewritten(path: Path, change: Callable[[Parts], object], way: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    change(parts)
    with zipfile.ZipFile(path, "w", way) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    seal(path)
    return path


@pytest.mark.parametrize("what", HOSTILE)
def test_a_program_that_says_what_could_run_is_refused(
    what: str, written: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path, written)
    path = rewritten(tmp_path / "net.pt2", HOSTILE[what])
    with pytest.raises(ValueError, match=r"net\.pt2 .*(export it again|write it with secateur)"):
        describe(path)
    assert not (tmp_path / "ran").exists()


def test_guards_and_sample_inputs_are_not_handed_to_torch(written: dict[str, bytes], tmp_path: Path) -> None:
    put(tmp_path, written)

    def change(parts: Parts) -> None:
        parts["archive/data/sample_inputs/model.pt"] = b"cos\nsystem\n(S'x'\ntR."
        changed(MODEL, lambda c: c.update(guards_code=[RUN]))(parts)

    path = rewritten(tmp_path / "net.pt2", change)
    archive, _ = harmless(path)
    with zipfile.ZipFile(archive) as clean:
        parts = {name.partition("/")[2]: clean.read(name) for name in clean.namelist()}
    assert parts["data/sample_inputs/model.pt"] == b""
    assert json.loads(parts["models/model.json"])["guards_code"] == []
    assert list(load_engine(path)(torch.randn(1, 3, 4, 4).numpy())) == ["seg", "kind"]


def test_lists_of_tensors_are_handed_on_with_what_torch_reads_alone(
    written: dict[str, bytes], tmp_path: Path
) -> None:
    put(tmp_path, written)
    more = {"use_pickle": True, "target": RUN, "expr_str": RUN}

    def change(parts: Parts) -> None:
        for name in (WEIGHTS, "archive/data/constants/model_constants_config.json"):
            changed(name, lambda c: c.update(more))(parts)
        of_weights(later=1, metadata={"x": RUN})(parts)

    archive, _ = harmless(rewritten(tmp_path / "net.pt2", change))
    with zipfile.ZipFile(archive) as clean:
        lists = {name: json.loads(clean.read(name)) for name in clean.namelist() if "config" in name}
    assert [list(content) for content in lists.values()] == [["config"]] * 2
    entry = lists["net/data/weights/model_weights_config.json"]["config"]["model.a.weight"]
    assert set(entry) == {"path_name", "is_param", "use_pickle", "tensor_meta"}


def test_an_archive_larger_than_its_file_is_refused(written: dict[str, bytes], tmp_path: Path) -> None:
    put(tmp_path, written)
    zeros = {"archive/data/weights/weight_0": bytes(50_000_000)}
    path = rewritten(tmp_path / "net.pt2", lambda parts: parts.update(zeros), zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="which export does not write"):
        describe(path)
