"""OpenVINO's intermediate representation in int8, by NNCF."""

from __future__ import annotations

import errno
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from secateur.deployment.engines import KEY, kept_signal_stack, need, quiet, seal, silent, unobserved
from secateur.deployment.export.calibration import Calibration, fitting
from secateur.deployment.export.network import Network
from secateur.deployment.export.refusals import refusals
from secateur.deployment.export.to_openvino import number
from secateur.problem import preserved_rng

_PLAIN = ("Constant", "Parameter", "Result")


def require() -> None:
    """Asks for nncf.

    Raises:
        EngineMissingError: If it is not installed.
    """
    _nncf()


def quantised(
    path: Path, made: Network, how: Calibration, weights: str
) -> tuple[Callable[[Mapping[str, Any]], None], str]:
    """``nncf.quantize``: weights in int8 with a scale a channel and no offset, so that zeros stay zeros; FakeQuantize on activations.

    NNCF's correction of biases stays off: its fast one takes each channel for the same at every place, whose outputs at padded
    borders are others, and adds the difference. Its usage statistics stay off, too.

    Args:
        path: The ``.xml`` in float32.
        made: What it was made of.
        how: What to calibrate on, and what stays in float.
        weights: Dense, which is all that the format knows.

    Returns:
        What writes it to ``path`` with the metadata it is given, and the tool's name and version.
    """
    nncf, (openvino,) = _nncf(), need("openvino", "openvino")
    feeds = [
        dict(zip(made.inputs, (t.detach().numpy() for t in tensors), strict=True))
        for tensors in fitting(path, made, how.batches)
    ]
    with kept_signal_stack():  # from memory: the file is written anew
        model = openvino.Core().read_model(path.read_bytes(), path.with_suffix(".bin").read_bytes())
        kept = nncf.IgnoredScope(names=list(_kept(model, made, how.keep)), validate=False)
        with (
            quiet(),
            unobserved(),
            silent("nncf"),
            preserved_rng(),
            redirect_stdout(io.StringIO()),
            refusals("nncf"),
        ):
            model = nncf.quantize(
                model,
                nncf.Dataset(feeds),
                preset=nncf.QuantizationPreset.MIXED,
                subset_size=len(feeds),
                ignored_scope=kept,
                advanced_parameters=nncf.AdvancedQuantizationParameters(disable_bias_correction=True),
            )

    def save(about: Mapping[str, Any]) -> None:
        model.set_rt_info(json.dumps(about), KEY)
        number(model)
        try:
            with kept_signal_stack():
                openvino.save_model(model, path, compress_to_fp16=False)
        except RuntimeError as error:
            raise OSError(errno.EIO, str(error)) from error
        seal(path)

    return save, f"nncf {nncf.__version__}"


def _nncf() -> Any:
    with (
        unobserved(),
        silent("torch.utils.cpp_extension"),
    ):  # which it imports, that there is no GPU to compile for
        return need("nncf", "nncf")[0]


def _kept(model: Any, made: Network, keep: Sequence[str]) -> Iterator[str]:
    """Operations that stay in float: those that a task's prediction alone depends on, or that read a weight of a module.

    Raises:
        ValueError: If one of ``keep`` has none.
    """
    named: list[tuple[str, set[str]]] = []
    of: dict[str, set[str]] = {}
    for operation in reversed(model.get_ordered_ops()):
        name = operation.get_friendly_name()
        if operation.get_type_name() == "Result":
            mine = {task for task in operation.input(0).get_source_output().get_names() if task in made.tasks}
        else:
            mine = of.get(name, set())
        for given in operation.inputs():
            source = given.get_source_output().get_node().get_friendly_name()
            of[source] = of.get(source, set()) | mine
        if operation.get_type_name() not in _PLAIN:
            named.append((name, mine))
    for one in keep:
        own = [
            name
            for name, mine in named
            if (mine == {one} if one in made.tasks else name.startswith(f"model.{one}."))
        ]
        if not own:
            raise ValueError(
                f"export: keep_float names {one!r}, of which no layer in the file is its own; name the modules that it shares, or leave "
                "it out."
            )
        yield from own
