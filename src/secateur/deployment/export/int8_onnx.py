"""An ONNX file in int8, by ONNX Runtime's own tool."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from secateur.deployment.engines import KEY, kept_logging, need, quiet, seal, unseal
from secateur.deployment.export.calibration import Calibration, Tensors, fitting
from secateur.deployment.export.floating import kept_nodes
from secateur.deployment.export.network import Network
from secateur.deployment.export.refusals import refusals
from secateur.deployment.sparse import Weights, rewrite


def require() -> None:
    """Asks for onnxruntime's tool, which comes with it."""


def quantised(
    path: Path, made: Network, how: Calibration, weights: str
) -> tuple[Callable[[Mapping[str, Any]], None], str]:
    """QuantizeLinear and DequantizeLinear around each layer.

    Weights have a scale a channel (those of a grouped transposed convolution one scale) and are symmetric, so that zeros stay zeros;
    activations are uint8.

    Args:
        path: Dense ONNX in float32.
        made: What it was made of.
        how: What to calibrate on, and what stays in float.
        weights: How they are stored.

    Returns:
        What writes it to ``path`` with the metadata it is given, and the tool's name and version.
    """
    kept = kept_nodes(path, made, how.keep)
    ir, tool, runtime = need("onnx", "onnx_ir", "onnxruntime.quantization", "onnxruntime")
    written = path.with_name("quantised.onnx")
    feeds = _reader(tool, path, made, how.batches)
    with quiet(), _silent(), refusals("onnxruntime.quantization"):
        tool.quantize_static(
            str(path),
            str(written),
            feeds,
            quant_format=tool.QuantFormat.QDQ,
            per_channel=True,
            activation_type=tool.QuantType.QUInt8,
            weight_type=tool.QuantType.QInt8,
            nodes_to_exclude=kept,
            extra_options={
                "WeightSymmetric": True,
                "ActivationSymmetric": False,
                "TensorQuantOverrides": _whole(ir.load(path).graph, tool),
            },
        )
        model = ir.load(written)
        ir.external_data.load_to_model(model)
    written.unlink()
    rewrite(model, cast(Weights, weights))

    def save(about: Mapping[str, Any]) -> None:
        unseal(model.metadata_props)
        model.metadata_props[KEY] = json.dumps(about)
        with quiet():
            ir.save(model, path)
        seal(path)

    return save, f"onnxruntime {runtime.__version__}"


def _whole(graph: Any, tool: Any) -> dict[str, Any]:
    """Weights that have one scale: of a grouped transposed convolution the tool would give one to each output of a group alone."""
    return {
        node.inputs[1].name: [{"quant_type": tool.QuantType.QInt8, "symmetric": True}]
        for node in graph
        if node.op_type == "ConvTranspose"
        and "group" in node.attributes
        and node.attributes["group"].as_int() > 1
    }


def _reader(tool: Any, path: Path, made: Network, batches: Sequence[Tensors]) -> Any:
    """What the tool asks for inputs, one after another."""
    feeds = iter(
        [
            dict(zip(made.inputs, (t.detach().numpy() for t in x), strict=True))
            for x in fitting(path, made, batches)
        ]
    )

    class Reader(tool.CalibrationDataReader):
        def get_next(self) -> Any:
            return next(feeds, None)

    return Reader()


@contextmanager
def _silent() -> Generator[None]:
    """The tool's advice to prepare the model is not heard: ours is prepared."""
    with kept_logging():
        logging.getLogger().setLevel(logging.ERROR)
        yield
