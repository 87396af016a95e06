"""What a model's Python code decides by sizes while it is traced, and whether two traces do the same."""

from __future__ import annotations

import ast
import sys
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType
from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

_ASKED = [
    (torch.SymBool, "__bool__"),
    (torch.SymBool, "__int__"),
    (torch.SymInt, "__int__"),
    (torch.SymInt, "__index__"),
    (torch.SymFloat, "__float__"),
    (torch.SymFloat, "__int__"),
]
_SYMBOLIC = (torch.SymInt, torch.SymFloat, torch.SymBool)
_lock, _open, _own = threading.Lock(), list[None](), threading.local()


@dataclass(frozen=True)
class Branch:
    """One way through the model's code.

    Args:
        program: What it does; None where it cannot be traced.
        held: Expressions of sizes that held on the way, in the names of the axes.
        symbols: The program's symbols to those names.
    """

    program: ExportedProgram | None
    held: tuple[Any, ...]
    symbols: Mapping[Any, Any]

    def broken(self, sizes: Mapping[str, int]) -> list[Any]:
        """Of what held that which does not at ``sizes``, or cannot be told there, all of them."""
        import sympy

        values = _values(sizes)
        return [one for one in self.held if _at(one, values) in (None, sympy.false)]


@contextmanager
def deciding(within: CodeType) -> Generator[list[tuple[Any, Any]]]:
    """Around a trace: lists each expression of sizes that code called by ``within`` asks for the value of, and the value.

    Also where torch knows the answer by another, and writes down no condition. Operations ask too, but are the same operations
    whatever they are told; what is asked within one does not count.
    """
    noted: list[tuple[Any, Any]] = []
    with _lock:
        if not _open:
            _kept[:] = [(kind, name, getattr(kind, name)) for kind, name in _ASKED]
            for kind, name, ask in _kept:
                setattr(kind, name, _noting(ask))
        _open.append(None)
    before, _own.noted = getattr(_own, "noted", None), (within, noted)
    try:
        yield noted
    finally:
        _own.noted = before
        with _lock:
            _open.pop()
            for kind, name, ask in _kept if not _open else ():
                setattr(kind, name, ask)


_kept: list[tuple[type, str, Callable[[Any], Any]]] = []


def _noting(ask: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def noting(size: Any) -> Any:
        own: tuple[CodeType, list[Any]] | None = getattr(_own, "noted", None)
        expression = getattr(size.node, "expr", None)  # before it is known
        value = ask(size)
        if own is not None and getattr(expression, "free_symbols", None) and _by_code(own[0]):
            own[1].append((expression, value))
        return value

    return noting


def _by_code(within: CodeType) -> bool:
    frame = sys._getframe(2)  # pyright: ignore[reportPrivateUsage]
    while frame is not None and frame.f_code is not within:
        if frame.f_code.co_name == "__torch_dispatch__" or frame.f_code.co_filename.endswith("torch/_ops.py"):
            return False
        frame = frame.f_back
    return frame is not None


def branch(
    program: ExportedProgram, noted: Sequence[tuple[Any, Any]], shapes: Mapping[str, Sequence[int | str]]
) -> Branch:
    """What ``program`` does, and for which sizes.

    Args:
        program: As torch.export gives it.
        noted: As of :func:`deciding`.
        shapes: Of each input by its name; a name in the place of a size that may vary.
    """
    import sympy

    given = [node for node in program.graph.nodes if node.name in program.graph_signature.user_inputs]
    pairs = [
        (sympy.Integer(own) if isinstance(own, int) else _axis(own), _expression(size))
        for node, shape in zip(given, shapes.values(), strict=True)
        for own, size in zip(shape, node.meta["val"].shape, strict=True)
    ]
    symbols: dict[Any, Any] = {}
    for own, size in pairs:
        if size.is_Symbol:
            symbols.setdefault(size, own)
    held = [sympy.Eq(own, size.xreplace(symbols)) for own, size in pairs]
    env = next((size.node.shape_env for n in given for size in n.meta["val"].shape if isinstance(size, torch.SymInt)), None)  # fmt: skip
    for expression, value in noted:
        known = expression if env is None else env.replace(expression)
        known = known.xreplace(symbols)
        if not isinstance(value, bool):
            known, value = sympy.Eq(known, value), True
        held.append(known if value else sympy.Not(known))
    return Branch(program, tuple(dict.fromkeys(one for one in held if one.free_symbols)), symbols)


def said(condition: Any) -> str:
    """A condition as Python."""
    from torch.utils._sympy.printers import PythonPrinter

    text = PythonPrinter().doprint(condition)
    try:
        return ast.unparse(ast.parse(text))  # without brackets that nobody needs
    except SyntaxError:  # names of tasks are in it
        return text


def compared(noted: Sequence[tuple[Any, Any]]) -> bool:
    """Whether code compared a size with a number that it was."""
    import sympy

    return any(
        isinstance(one, (sympy.Eq, sympy.Ne)) and value == isinstance(one, sympy.Eq) and any(side.is_Integer for side in one.args)
        for one, value in noted
        if isinstance(value, bool)
    )  # fmt: skip


def same(one: Branch, other: Branch, at: Sequence[Mapping[str, int]]) -> bool:
    """Whether both do the same operations, with the same numbers at all sizes ``at``."""
    if one.program is None or other.program is None:
        return False
    import sympy

    first, second = (list(_flat(_steps(way.program, way.symbols))) for way in (one, other))  # pyright: ignore[reportArgumentType]
    if len(first) != len(second):
        return False
    values = [_values(sizes) for sizes in at]
    for mine, its in zip(first, second, strict=True):
        if isinstance(mine, sympy.Basic) and isinstance(its, sympy.Basic):
            if mine != its and any(_at(mine, sizes) != _at(its, sizes) for sizes in values):
                return False
        elif type(mine) is not type(its) or mine != its:
            return False
    return True


def _steps(program: ExportedProgram, symbols: Mapping[Any, Any]) -> list[Any]:
    """What a program does, step by step; in the place of a tensor the number of the step that makes it."""
    places: dict[fx.Node, Any] = {}
    steps: list[Any] = []
    constants = {**program.constants, **program.state_dict}
    signature = program.graph_signature
    held = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    held |= {str(name): f"input {place}" for place, name in enumerate(signature.user_inputs)}
    lifted = signature.inputs_to_lifted_tensor_constants

    def read(value: Any) -> Any:
        if isinstance(value, fx.Node):
            known = value.meta.get("val")
            return _expression(known).xreplace(symbols) if isinstance(known, _SYMBOLIC) else places.get(value)
        if isinstance(value, (list, tuple)):
            return [len(value), *map(read, value)]
        if isinstance(value, dict):
            return [[str(key), read(value[key])] for key in sorted(value, key=str)]
        return (
            _expression(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value
        )

    for node in program.graph.nodes:
        if node.op == "placeholder":
            places[node] = held.get(node.name, node.name)
            if node.name in lifted:
                constant = constants[lifted[node.name]]
                places[node] = [str(constant.dtype), *constant.shape, *constant.flatten().tolist()] if isinstance(constant, Tensor) else repr(constant)  # fmt: skip
        elif node.op == "get_attr":
            found = getattr(program.graph_module, node.target, None)
            places[node] = getattr(found, "code", str(node.target))
        elif node.op == "output" or not (isinstance(node.meta.get("val"), _SYMBOLIC) or _checks(node)):
            places[node] = f"step {len(steps)}"
            steps.append([str(node.target), read(node.args), read(node.kwargs)])
    return steps


def _checks(node: fx.Node) -> bool:
    return not node.users and any(word in str(node.target) for word in ("assert", "sym_constrain"))


def _flat(value: Any) -> Generator[Any]:
    if isinstance(value, list):
        for one in value:
            yield from _flat(one)
    else:
        yield value


def _expression(size: Any) -> Any:
    import sympy

    return size.node.expr if isinstance(size, _SYMBOLIC) else sympy.sympify(size)


def _values(sizes: Mapping[str, int]) -> dict[Any, Any]:
    import sympy

    return {_axis(name): sympy.Integer(size) for name, size in sizes.items()}


def _at(expression: Any, values: Mapping[Any, Any]) -> Any:
    """None where it cannot be computed, as what divides by a size that is 0 there."""
    try:
        return expression.xreplace(values)
    except Exception:  # sympy and torch raise several
        return None


def _axis(name: str) -> Any:
    import sympy

    return sympy.Symbol(name, integer=True, positive=True)
