"""One trace of the network: folded, without what no wanted task needs, its axes as free as they can be."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, fx
from torch.export import Dim, ExportedProgram

from secateur.deployment.engines import quiet
from secateur.deployment.export.decided import Branch, branch, compared, deciding
from secateur.deployment.export.folding import averaged, fold_batch_norm, unsqueezed
from secateur.deployment.export.kept_state import Kept
from secateur.deployment.export.names import rename, writable
from secateur.deployment.export.network import Network
from secateur.deployment.export.trials.sizes import Granted, checking, granted, named
from secateur.deployment.export.trials.trials import Trials
from secateur.problem import exporting, functional, preserved_rng, untraceable

Axes = frozenset[Literal["batch", "size"]]
Shape = list[int | str]
_NAMES = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}


@dataclass(frozen=True)
class Traced:
    """A program ready for an engine.

    Args:
        program: Functional ATen operations; inputs and outputs in the order of the network's.
        network: What was traced.
        shapes: Of each input by its name; a name such as ``height`` in the place of a size that may vary.
        symbols: The trace's symbol of each such name.
        granted: What torch took for granted of sizes, which the program does not look at.
        way: Through the model's Python code, and what that decided by sizes.
    """

    program: ExportedProgram
    network: Network
    shapes: dict[str, Shape]
    symbols: dict[str, str]
    granted: Granted
    way: Branch

    def outside(self, tensors: Sequence[Tensor]) -> str:
        """What torch took for granted that does not hold for ``tensors``; empty where all does."""
        return named(self.granted(tensors) or "", self.shapes)

    @cached_property
    def trials(self) -> Trials:
        """The passes that the search for other sizes may make."""
        return Trials(self.network, self.shapes)


def trace(network: Network, axes: Axes, limits: Sequence[Sequence[Tensor]] | None = None) -> Traced:
    """Traces ``network`` with ``axes`` left to vary, folds BatchNorm and drops what the outputs do not need.

    Args:
        network: The copy of the model.
        axes: ``batch`` is axis 0 of every input, ``size`` the axes from 2 on.
        limits: All inputs that will be given; an axis then varies up to the largest of them. None sets no limit.

    Raises:
        ValueError: If the model cannot be traced, and then the message names the line that stands in the way; or if
            an axis that was asked to vary turned out to be fixed.
    """
    varying = [_varying(index, x, axes, limits) for index, x in enumerate(network.example)]
    missing = axes - {_kind(axis) for dims in varying for axis in dims}
    if missing:
        why = "" if limits is None else ": all inputs are of one size, and memory is reserved for the largest"
        raise ValueError(f"export: no {' and no '.join(sorted(missing))} to vary{why}")
    example = tuple(
        torch.cat([x, x]) if 0 in dims and len(x) == 1 else x
        for x, dims in zip(network.example, varying, strict=True)
    )
    given, noted = written(network, example, varying)
    rename(given, writable)
    with told():
        module = given.module()
        assert isinstance(module, fx.GraphModule)
    varying = _left(given, varying)
    if fixed := axes - {_kind(axis) for dims in varying for axis in dims}:
        raise ValueError(
            f"export: the network works on one {' and one '.join(sorted(fixed))} only; "
            + (
                "its code compares a size with a number, as x.shape[2] == 16 does, and goes another way for others"
                if compared(noted)
                else "where its code reads a size as a plain number, as len(x) and int() do, x.shape[0] leaves it free"
            )
        )
    conditions = granted(module)
    with told():
        if (graph := functional(unchecked(module).graph)) is None:
            decomposed = given.run_decompositions({}).module()
            assert isinstance(decomposed, fx.GraphModule)
            module = _pure(unchecked(decomposed))
        else:
            module.graph = graph
        unsqueezed(module.graph)
        averaged(module.graph)
        program = torch.export.export(fold_batch_norm(module), example, dynamic_shapes=varying)
        program = program if graph is not None else program.run_decompositions({})
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    shapes, symbols = _shapes(program, network)
    got = {
        _kind(axis) for shape in shapes.values() for axis, size in enumerate(shape) if isinstance(size, str)
    }
    if axes - got:
        raise ValueError(f"export: the network works on one {' and one '.join(sorted(axes - got))} only")
    return Traced(program, network, shapes, symbols, conditions, branch(given, noted, shapes))


def written(
    network: Network, example: Sequence[Tensor], varying: Sequence[Mapping[int, Any]]
) -> tuple[ExportedProgram, list[tuple[Any, Any]]]:
    """The network as torch writes it down, and what its code asked of sizes meanwhile."""
    module = network.module
    before = Kept(network.state.model)
    try:
        with told(), deciding(type(module).forward.__code__) as noted:
            return torch.export.export(module, tuple(example), dynamic_shapes=[tuple(varying)]), noted
    finally:
        before.restore()  # tensors without values in caches


@contextmanager
def told() -> Generator[None]:
    """Around torch.export: what it raises is said with the line of the user's code."""
    try:
        with torch.no_grad(), preserved_rng(), quiet(), exporting():
            # of activations that modules keep: they are put back
            warnings.filterwarnings("ignore", "The tensor attribute", UserWarning)
            yield
    except Exception as error:  # torch.export raises many kinds of errors, most of them private
        raise ValueError(f"export: {untraceable(error)}") from error


def _kind(axis: int) -> Literal["batch", "size"]:
    return "batch" if axis == 0 else "size"


def _varying(index: int, x: Tensor, axes: Axes, limits: Sequence[Sequence[Tensor]] | None) -> dict[int, Any]:
    found: dict[int, Any] = {}
    for axis in range(x.ndim):
        if axis == 1 or _kind(axis) not in axes or (axis > 1 and x.shape[axis] == 1):
            continue
        sizes = {given[index].shape[axis] for given in limits or ()}
        if limits is None:
            found[axis] = Dim.AUTO
        elif len(sizes) > 1:
            found[axis] = Dim.AUTO(max=max(sizes))
    return found


def _left(program: ExportedProgram, varying: Sequence[dict[int, Any]]) -> list[dict[int, Any]]:
    """Of what was to vary that which the model's code did not fix; what is traced anew does not know."""
    given = [node for node in program.graph.nodes if node.name in program.graph_signature.user_inputs]
    return [
        {axis: dim for axis, dim in dims.items() if _number(node.meta["val"].shape[axis]) is None}
        for node, dims in zip(given, varying, strict=True)
    ]


def _number(size: Any) -> int | None:
    """A size that is known; also one that began as a symbol, and keeps its type."""
    return int(size) if str(size).isdigit() else None


def unchecked(module: fx.GraphModule) -> fx.GraphModule:
    """Without the checks of the input's shape that ``module()`` puts in."""
    for node in checking(module):
        module.graph.erase_node(node)
    return module


def _pure(module: fx.GraphModule) -> fx.GraphModule:
    """Without what is written back to buffers at the end."""
    for node in list(module.graph.nodes):
        if node.target is torch.ops.aten.copy_.default and node.args[0].op == "get_attr" and not node.users:
            module.graph.erase_node(node)
    return module


def _shapes(program: ExportedProgram, network: Network) -> tuple[dict[str, Shape], dict[str, str]]:
    shapes: dict[str, Shape] = {}
    names: dict[str, str] = {}  # symbol -> name
    given = [node for node in program.graph.nodes if node.name in program.graph_signature.user_inputs]
    for node, (name, task) in zip(given, network.inputs.items(), strict=True):
        value: Tensor = node.meta["val"]
        axes = ("batch", "channels", *_NAMES.get(value.ndim - 2, [f"size_{i}" for i in range(2, value.ndim)]))
        shape: Shape = []
        sizes: list[Any] = list(value.shape)  # torch.SymInt where it was to vary
        for size, axis in zip(sizes, axes, strict=False):
            own = axis if task is None else f"{axis}_{task}"
            known = _number(size)
            shape.append(names.setdefault(str(size), own) if known is None else known)
        shapes[name] = shape
    return shapes, {name: symbol for symbol, name in names.items()}
