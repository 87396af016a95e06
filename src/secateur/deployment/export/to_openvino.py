"""Writes OpenVINO's intermediate representation: .xml and .bin beside it."""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from secateur.deployment.engines import KEY, kept_signal_stack, need, quiet, unobserved
from secateur.deployment.export.tracing import Traced


def require() -> None:
    """Asks for openvino.

    Raises:
        EngineMissingError: If it is not installed.
    """
    need("openvino", "openvino")


def write(traced: Traced, path: Path, about: str) -> None:
    """Weights stay float32; the metadata stand in ``rt_info`` under ``secateur``.

    OpenVINO's converter has usage statistics of its own, which stay off here.
    """
    (openvino,) = need("openvino", "openvino")
    layers = _layers(traced)
    with quiet(), unobserved(), kept_signal_stack():
        model = openvino.convert_model(traced.program)
    for found, names in ((model.inputs, traced.network.inputs), (model.outputs, traced.network.tasks)):
        for port, name in zip(found, names, strict=True):
            port.get_tensor().set_names({name})
    # The converter leaves sizes open that the trace has fixed, and its engine is slower where it must ask for them.
    sizes = {name: [s if isinstance(s, int) else -1 for s in shape] for name, shape in traced.shapes.items()}
    model.reshape(sizes)
    _name_layers(model, layers)
    number(model)
    model.set_rt_info(about, KEY)
    try:
        with kept_signal_stack():
            openvino.save_model(model, path, compress_to_fp16=False)
    except RuntimeError as error:  # converted it is; all that can go wrong now is the disk
        raise OSError(errno.EIO, str(error)) from error


def number(model: Any) -> None:
    """Numbers what has no name of its own anew; the converter counts it through the process, and one network would be files of several sizes."""
    model.set_friendly_name("model")
    for place, operation in enumerate(model.get_ordered_ops()):
        kind = operation.get_type_name()
        if re.fullmatch(rf"{kind}_[0-9]+", operation.get_friendly_name()):
            operation.set_friendly_name(f"{kind}_{place}")


def _layers(traced: Traced) -> dict[str, str]:
    """Name of each operation that reads a weight, as the converter will call it, to the weight's.

    It writes convolutions anew, of whatever kind, and numbers them in the order of the trace.
    """
    signature = traced.program.graph_signature
    weights = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    found: dict[str, str] = {}
    convolutions = 0
    for node in traced.program.graph.nodes:
        name = node.name
        if getattr(getattr(node.target, "overloadpacket", None), "__name__", "").startswith("conv"):
            name = f"convolution_{convolutions}" if convolutions else "convolution"
            convolutions += 1
        read = [weights[given.name] for given in node.all_input_nodes if given.name in weights]
        if read and len(node.all_input_nodes) == 1:  # the weight itself, turned
            weights[node.name] = read[0]
        elif read:
            found[name] = read[0]
    return found


def _name_layers(model: Any, layers: Mapping[str, str]) -> None:
    """Operations bear the name of their weight before the converter's, so that a profile can be read: ``model.stem.0.weight/conv2d/...``."""
    for operation in model.get_ops():
        name = operation.get_friendly_name()
        if (weight := layers.get(name.split("/")[0])) is not None:
            operation.set_friendly_name(f"{weight}/{name}")
