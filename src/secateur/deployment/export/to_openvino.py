"""Writes OpenVINO's intermediate representation: .xml and .bin beside it."""

from __future__ import annotations

import errno
from pathlib import Path

from secateur.deployment.engines import KEY, kept_signal_stack, need, quiet
from secateur.deployment.export.tracing import Traced


def require() -> None:
    """Asks for openvino.

    Raises:
        EngineMissingError: If it is not installed.
    """
    need("openvino", "openvino")


def write(traced: Traced, path: Path, about: str) -> None:
    """Weights stay float32; the metadata stand in ``rt_info`` under ``secateur``.

    OpenVINO's converter has usage statistics of its own, which ``opt_in_out --opt_out`` turns off.
    """
    (openvino,) = need("openvino", "openvino")
    with quiet(), kept_signal_stack():
        model = openvino.convert_model(traced.program)
    for found, names in ((model.inputs, traced.network.inputs), (model.outputs, traced.network.tasks)):
        for port, name in zip(found, names, strict=True):
            port.get_tensor().set_names({name})
    model.set_rt_info(about, KEY)
    try:
        with kept_signal_stack():
            openvino.save_model(model, path, compress_to_fp16=False)
    except RuntimeError as error:  # converted it is; all that can go wrong now is the disk
        raise OSError(errno.EIO, str(error)) from error
