"""A program of ``torch.export``, made harmless before torch reads it: torch's own reader runs what such a file says.

It evaluates sizes, guards and names as Python, looks operators up by any path, and unpickles. So what is handed to it is written
anew, of the parts of the file alone that cannot say such things; whatever else there is, is refused or left out.
"""

from __future__ import annotations

import ast
import io
import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from secateur.deployment.engines.engine import UnreadableError

_MODEL, _CONFIGS = "models/model.json", ("weights/model_weights", "constants/model_constants")
_PARTS = re.compile(
    r"data/(weights/(weight_\d+|model_weights_config\.json)|constants/(tensor_\d+|model_constants_config\.json)|"
    r"sample_inputs/model\.pt)|models/model\.json|extra/secateur\.json|archive_format|archive_version|byteorder|"
    r"\.data/(version|serialization_id)|\.format_version|\.storage_alignment"
)
PLAIN_NAME = re.compile(r"[\w.]{0,500}")  # of a tensor or an input; stands in generated code as it is
_TEXT = 1000  # characters of an operator's argument, an expression or a tree
_OPERATOR = re.compile(
    r"torch\.ops\.(aten|torchvision)\.[a-z_]\w*\.\w+|torch\.sym_[a-z]+|math\.(ceil|floor|trunc|sqrt)|"
    r"torch\.ops\.higher_order\.(wrap_with_set_grad_enabled|wrap_with_autocast|cond|scan|while_loop|map_impl)|"
    r"_operator\.(add|sub|mul|floordiv|truediv|mod|pow|neg|pos|abs|eq|ne|lt|le|gt|ge|and_|or_|not_|getitem)"
)
_FILES = re.compile(
    r"torch\.ops\.aten\.(from_file|_?save|load)\b.*"
)  # operators that open what they are given
_FUNCTIONS = frozenset(
    [
        "Symbol",
        "Integer",
        "Float",
        "Rational",
        "Add",
        "Mul",
        "Pow",
        "Max",
        "Min",
        "Mod",
        "Abs",
        "Not",
        "And",
        "Or",
        "Eq",
        "Ne",
        "Lt",
        "Le",
        "Gt",
        "Ge",
        "Equality",
        "Unequality",
        "StrictLessThan",
        "LessThan",
        "StrictGreaterThan",
        "GreaterThan",
        "ceiling",
        "floor",
        "FloorDiv",
        "ModularIndexing",
        "Where",
        "PythonMod",
        "CleanDiv",
        "CeilToInt",
        "FloorToInt",
        "CeilDiv",
        "TruncToInt",
        "RoundToInt",
        "IntTrueDiv",
        "FloatTrueDiv",
        "PowByNatural",
        "FloatPow",
        "ToFloat",
    ]
)
_TREES = (None, "builtins.tuple", "builtins.list", "builtins.dict")


def harmless(path: Path) -> tuple[io.BytesIO, str]:
    """The archive for torch to read, and the description in it.

    Raises:
        UnreadableError: If it is no such archive, or says what could run; names the file.
    """
    try:
        parts = _parts(path)
        # guards are code: what they ask, the engine's caller is told by the description
        graph = _checked({**json.loads(parts[_MODEL]), "guards_code": []})
        parts[_MODEL] = json.dumps(graph).encode()
        for start in _CONFIGS:
            name, folder = f"data/{start}_config.json", f"data/{start.split('/')[0]}"
            parts[name] = json.dumps(_listed(json.loads(parts[name]), parts, folder)).encode()
        parts["data/sample_inputs/model.pt"] = b""  # they are pickled, and nothing reads them
        about = parts.pop("extra/secateur.json", b"").decode("utf-8")
    except Exception as error:  # a torn archive raises of every kind, and so does what is no graph
        raise UnreadableError(
            f"{path} is damaged, or no program that secateur.export wrote ({_said(error)}); export it again."
        ) from error
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, data in parts.items():
            archive.writestr(f"net/{name}", data)
    written.seek(0)
    return written, about


def _parts(path: Path) -> dict[str, bytes]:
    """What is in the archive, by names without that of its folder; nothing is larger there than in the file."""
    found: dict[str, bytes] = {}
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            name = entry.filename.partition("/")[2]
            if not _PARTS.fullmatch(name) or name in found or entry.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"it holds {entry.filename!r}, which export does not write")
            if entry.file_size > path.stat().st_size or entry.flag_bits & 1:
                raise ValueError(f"{entry.filename!r} is not in it")
            found[name] = archive.read(entry)
    return found


def _checked(value: Any, key: str = "") -> Any:
    """The graph without what is for people alone; every text in it is a name, an argument, or one of what is known."""
    if isinstance(value, dict):
        mapping = cast(dict[str, Any], value)
        for name in mapping:
            _check_name(name)
        if mapping.get("as_custom_obj") is not None or mapping.get("use_pickle", False) is not False:
            raise ValueError("it holds an object of somebody's class")
        return {
            name: {} if name in ("metadata", "custom_obj_values") else _checked(item, name)
            for name, item in mapping.items()
        }
    if isinstance(value, list):
        return [_checked(item, key) for item in cast(list[Any], value)]
    if isinstance(value, str):
        _check_text(value, key)
    return value


def _check_text(value: str, key: str) -> None:
    if key in ("target", "as_operator"):
        if not _OPERATOR.fullmatch(value) or _FILES.fullmatch(value):
            raise ValueError(f"it calls {value!r}, which is no operator of torch that only computes")
    elif key == "expr_str":
        _check_expression(value)
    elif key in ("in_spec", "out_spec"):
        _check_tree(json.loads(value)[1])
    elif key in ("as_string", "as_strings", "torch_version"):  # stand in generated code as quoted text
        if len(value) > _TEXT or not value.isprintable():
            raise ValueError(f"an argument of it is {value!r:.80}")
    else:
        _check_name(value)


def _check_name(value: str) -> None:
    if not PLAIN_NAME.fullmatch(value):
        raise ValueError(f"a name in it is {value!r:.80}")


def _check_expression(text: str) -> None:
    """Of sizes: functions of symbols and numbers that are known, no attribute, nothing that grows without end."""
    nodes = list(ast.walk(ast.parse(text, mode="eval"))) if len(text) <= _TEXT else []
    powers = sum(isinstance(n, ast.Name) and "Pow" in n.id for n in nodes)
    if not nodes or powers > 2 or not all(map(_plain, nodes)):
        raise ValueError(f"a size in it is {text!r:.80}")


def _plain(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS
    if isinstance(node, ast.Name):
        return node.id in _FUNCTIONS or bool(re.fullmatch(r"[a-z]{1,4}\d+", node.id))
    if isinstance(node, ast.Constant):
        small = isinstance(node.value, (int, float)) and abs(node.value) < 2**63
        return small or (isinstance(node.value, str) and bool(re.fullmatch(r"[\w.+\-]{1,40}", node.value)))
    if isinstance(node, ast.keyword):
        return isinstance(node.value, ast.Constant)
    return isinstance(
        node, (ast.Expression, ast.Load, ast.UnaryOp, ast.USub, ast.BinOp, ast.Add, ast.Sub, ast.Mult)
    )


def _check_tree(tree: Mapping[str, Any]) -> None:
    """Of inputs and outputs: tuples, lists and dicts; other kinds are looked up by what the file calls them."""
    if tree["type"] not in _TREES or not isinstance(
        json.loads(tree["context"] or "null"), (list, type(None))
    ):
        raise ValueError(f"it takes or returns {tree['type']!r:.80}")
    for child in tree["children_spec"]:
        _check_tree(child)


def _listed(config: Mapping[str, Any], parts: Mapping[str, bytes], folder: str) -> dict[str, Any]:
    """The list of tensors with what torch reads of it alone; ValueError if a tensor is pickled, or not there."""
    found: dict[str, Any] = {}
    for name, entry in config["config"].items():
        if entry["use_pickle"] is not False or not isinstance(entry["path_name"], str):
            raise ValueError(f"{name!r:.80} is pickled")
        if f"{folder}/{entry['path_name']}" not in parts or entry["path_name"].endswith(".json"):
            raise ValueError(f"{name!r:.80} is missing")
        found[name] = {key: entry[key] for key in ("path_name", "is_param", "use_pickle", "tensor_meta")}
    return {"config": _checked(found)}


def _said(error: Exception) -> str:
    text = f"no {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:196]} ..."
