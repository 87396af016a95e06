"""What a network costs, measured: nothing here is a prediction."""

from __future__ import annotations

from pathlib import Path
from tempfile import gettempdir

from torch import nn

from secateur.budget.limits import Budget, Kind
from secateur.deployment.bench import bench
from secateur.deployment.export import export
from secateur.measures import count_macs
from secateur.problem import Call, Input, called
from secateur.storage import folder_aside

_ROUNDS, _PROCESSES = 6, 3
_SUFFIX = {
    "torch": ".pt2",
    "onnxruntime": ".onnx",
    "sparse": ".onnx",
    "openvino": ".xml",
    "executorch": ".pte",
}


def measured(model: nn.Module, example: Input, budget: Budget, call: Call | None = None) -> dict[Kind, float]:
    """Every cost that ``budget`` limits; the model is left as it was.

    Raises:
        ValueError: If it cannot be exported.
        EngineMissingError: If the engine is not installed; it says what to install.
    """
    found: dict[Kind, float] = {}
    if "params" in budget.kinds:
        found["params"] = float(sum(p.numel() for p in model.parameters()))
    if "macs" in budget.kinds:
        found["macs"] = float(sum(count_macs(called(model, call), example).values()))
    if "ms" in budget.kinds:
        made = bench(
            {"network": model},
            example,
            [budget.engine],
            threads=budget.threads,
            repeats=_ROUNDS,
            processes=_PROCESSES,
            call=call,
        )
        measure = made.measures[budget.engine]["network"]
        found["ms"], found["mb"] = measure.p50, measure.file / 1e6
    elif "mb" in budget.kinds:
        with folder_aside(Path(gettempdir()) / "secateur-budget") as folder:
            path = export(model, example, folder / f"net{_SUFFIX[budget.engine]}", dynamic=False, call=call)
            found["mb"] = (
                sum(file.stat().st_size for file in folder.iterdir() if file.stem == path.stem) / 1e6
            )
    return {kind: found[kind] for kind in budget.kinds}
