"""A whole network with zeros in ONNX Runtime with the provider, against OpenVINO and ONNX Runtime on the dense one.

`python runtime/benchmarks/network.py [--densities 0.2 0.1 0.05] [--patterns 1 2 4] [--threads 1 2] [--int8]`: Deeplab-ResNet34 with
three heads, 1x3x240x320, random zeros (the stem and the last layers stay dense); ms, ratio to OpenVINO (fp32, or int8 with --int8), clean samples.
Every engine runs in a process of its own. Needs secateur with its extra onnx, and openvino.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from secateur.zoo import deeplab_resnet34
from timing import apart


def build(density: float, pattern: int, path: Path) -> None:
    """Write the network with a fraction of the weights of its layers, `pattern` outputs sharing their zeros."""
    torch.manual_seed(0)
    net = deeplab_resnet34({"segmentation": 13, "depth": 1, "normals": 3}).eval()
    random = torch.Generator().manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
        if isinstance(module, nn.Conv2d) and module.in_channels > 3 and density < 1:
            out, *rest = module.weight.shape
            kept = torch.rand(-(-out // pattern), *rest, generator=random) < density
            module.weight.data *= kept.repeat_interleave(pattern, 0)[:out]

    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(self.net(x).values())

    example = torch.randn(1, 3, 240, 320)
    torch.onnx.export(Heads(), (example,), path, dynamo=True, verbose=False, external_data=False)


def quantise(source: Path, path: Path) -> None:
    """Write the network in int8 as onnxruntime quantises it: QDQ, weights an output channel each."""
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    random = np.random.default_rng(0)
    images = iter([{"x": random.standard_normal((1, 3, 240, 320)).astype(np.float32)} for _ in range(2)])

    class Images(CalibrationDataReader):
        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(images, None)
            return image and {onnx.load(source).graph.input[0].name: image["x"]}

    ready = source.with_suffix(".ready.onnx")
    quant_pre_process(source, ready)
    quantize_static(
        ready,
        path,
        Images(),
        per_channel=True,
        activation_type=QuantType.QUInt8,  # int8 inputs ONNX Runtime computes in float32
        weight_type=QuantType.QInt8,
    )
    ready.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--densities", type=float, nargs="*", default=[0.2, 0.1, 0.05])
    parser.add_argument("--patterns", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--threads", type=int, nargs="*", default=[1])
    parser.add_argument("--int8", action="store_true", help="everything in int8, by onnxruntime.quantization")
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "secateur-network")
    arguments = parser.parse_args()
    arguments.folder.mkdir(exist_ok=True)

    def file(density: float, pattern: int) -> Path:
        path = arguments.folder / f"{density}-{pattern}.onnx"
        if not path.exists():
            build(density, pattern, path)
        small = path.with_suffix(".int8.onnx")
        if arguments.int8 and not small.exists():
            quantise(path, small)
        return small if arguments.int8 else path

    for threads in arguments.threads:
        dense = apart("openvino", file(1.0, 1), threads, arguments.seconds)
        stock = apart("onnxruntime", file(1.0, 1), threads, arguments.seconds)
        print(
            f"{threads} threads, dense: OpenVINO {dense[0]:.1f} ms ({dense[1]} clean), ONNX Runtime {stock[0]:.1f} ms ({stock[1]})"
        )
        for pattern in arguments.patterns:
            for density in arguments.densities:
                ms, clean, megabytes = apart("secateur", file(density, pattern), threads, arguments.seconds)
                print(
                    f"  {pattern}x1 {density:.2f}: {ms:.1f} ms, {dense[0] / ms:.2f}x ({clean} clean), {megabytes:.0f} MB resident",
                    flush=True,
                )


if __name__ == "__main__":
    main()
