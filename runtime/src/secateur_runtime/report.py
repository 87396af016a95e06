"""What became of each layer: who runs it, how fast, and why the rest was left."""

import ctypes
import json
from dataclasses import dataclass

import onnxruntime

from secateur_runtime.library import functions
from secateur_runtime.session import label


@dataclass(frozen=True)
class Layer:
    """A convolution or matrix product of the model."""

    name: str
    operation: str
    ours: bool
    density: float  # kept fraction of its weights; 0 where they were not looked at
    note: str  # the kernel, or why it was left
    calls: int
    best: float  # milliseconds of the fastest run so far, 0 where there was none
    mean: float  # milliseconds
    expected: float  # milliseconds on one thread by the cost model, ours and dense
    dense: float
    bytes: int  # of packed weights


@dataclass(frozen=True)
class Report:
    """The layers of a session; printed, a line each."""

    instructions: str  # the instruction set in use
    threads: int
    layers: tuple[Layer, ...]

    def __str__(self) -> str:
        """Return a table, a line a layer."""
        ours = sum(layer.ours for layer in self.layers)
        if not self.instructions:
            return "this session runs without secateur-runtime"
        width = max([len(layer.name) for layer in self.layers] + [5])
        lines = [
            f"{ours} of {len(self.layers)} convolutions and matrices run by secateur ({self.instructions})"
        ]
        if not ours:
            lines[0] += "; the model runs as in plain ONNX Runtime"
        if self.layers:
            lines.append(
                f"{'layer':{width}}  {'density':>7}  {'best ms':>8}  {'runs':>5}  kernel, or why it is left"
            )
        for layer in self.layers:
            density = f"{100 * layer.density:6.1f}%" if layer.density else "      -"
            best = f"{layer.best:8.3f}" if layer.calls else "       -"
            who = layer.note if layer.ours else f"left: {layer.note}"
            lines.append(f"{layer.name:{width}}  {density}  {best}  {layer.calls:5}  {who}")
        return "\n".join(lines)


def report(session: onnxruntime.InferenceSession) -> Report:
    """Tell what became of each convolution and matrix of a session that `session` opened, times included."""
    name = label(session.get_session_options())
    if name is None:
        return Report("", 0, ())
    read = functions().secateur_report
    size = read(name.encode(), None, 0)
    while size:  # a layer may run in between and lengthen a number
        buffer = ctypes.create_string_buffer(size + 256)
        needed = read(name.encode(), buffer, len(buffer))
        if needed <= len(buffer):
            break
        size = needed
    else:
        return Report("", 0, ())
    data = json.loads(buffer.value.decode(errors="replace"))
    layers = tuple(
        Layer(
            one["name"] or "(no name)", one["operation"], one["claimed"], one["density"], one["note"], int(one["calls"]),
            one["best"], one["mean"], one["expected"], one["dense"], int(one["bytes"]),
        )
        for one in data["layers"]
    )  # fmt: skip
    return Report(data["isa"], int(data["threads"]), layers)
