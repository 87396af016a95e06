"""Time of single layers, ours against dense ONNX Runtime and OpenVINO, by density and pattern.

`python runtime/benchmarks/layers.py [--densities 0.2 0.1 0.05] [--patterns 1 2 4] [--layers WORD] [--int8]`: one thread, ms,
the ratio to the best dense engine (of int8 with --int8: input, weights and output), multiply-adds by nonzeros a second, and how
many samples were clean.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from models import conv, sparse
from quantised import layer
from timing import apart

# name: inputs, outputs, kernel, stride, dilation, height, width
LAYERS = {
    "3x3 64 @61x81": (64, 64, 3, 1, 1, 61, 81),
    "3x3 128 @31x41": (128, 128, 3, 1, 1, 31, 41),
    "3x3 256 d2": (256, 256, 3, 1, 2, 31, 41),
    "3x3 512 d4": (512, 512, 3, 1, 4, 31, 41),
    "3x3 512-1024 d6": (512, 1024, 3, 1, 6, 31, 41),
    "3x3 512-1024 d12": (512, 1024, 3, 1, 12, 31, 41),
    "3x3 512-1024 d24": (512, 1024, 3, 1, 24, 31, 41),
    "1x1 1024": (1024, 1024, 1, 1, 1, 31, 41),
    "3x3 s2 64-128": (64, 128, 3, 2, 1, 61, 81),
    "1x1 24-144 @60x80": (24, 144, 1, 1, 1, 60, 80),
    "1x1 144-24 @60x80": (144, 24, 1, 1, 1, 60, 80),
    "1x1 96-576 @15x20": (96, 576, 1, 1, 1, 15, 20),
    "1x1 960-160 @15x20": (960, 160, 1, 1, 1, 15, 20),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--densities", type=float, nargs="*", default=[0.2, 0.1, 0.05])
    parser.add_argument("--patterns", type=int, nargs="*", default=[1])
    parser.add_argument("--layers", default="")
    parser.add_argument("--int8", action="store_true")
    parser.add_argument("--engines", nargs="*", default=["onnxruntime", "openvino"])
    parser.add_argument("--seconds", type=float, default=1.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "layer.onnx"
        for name, (c, o, k, s, d, height, width) in LAYERS.items():
            if arguments.layers not in name:
                continue

            def write(density, pattern, c=c, o=o, k=k, s=s, d=d, height=height, width=width):
                weights = sparse((o, c, k, k), density, np.random.default_rng(0), pattern)
                attributes = {"strides": [s, s], "pads": [d * (k // 2)] * 4, "dilations": [d, d]}
                if arguments.int8:
                    scale = 0.05 * k * (c * density) ** 0.5  # most outputs are within the range of bytes
                    model, _ = layer(
                        (1, c, height, width),
                        (o, c, k, k),
                        density,
                        pattern=pattern,
                        y_scale=scale,
                        **attributes,
                    )
                else:
                    model = conv([1, c, height, width], weights, **attributes)
                path.write_bytes(model)
                return np.count_nonzero(weights)

            write(1, 1)
            dense = {
                engine: apart(engine, path, seconds=arguments.seconds)[0] for engine in arguments.engines
            }
            best = min(dense.values(), default=float("nan"))
            print(f"{name:20}", *(f"{engine} {ms:.3f}" for engine, ms in dense.items()), end="  ")
            for pattern in arguments.patterns:
                for density in arguments.densities:
                    nonzeros = write(density, pattern)
                    ms, clean, _ = apart("secateur:force=1", path, seconds=arguments.seconds)
                    rate = nonzeros * -(-height // s) * -(-width // s) / ms / 1e6
                    print(
                        f"| {pattern}x1 {density}: {ms:.3f} {best / ms:.1f}x {rate:.0f}G ({clean})",
                        end=" ",
                        flush=True,
                    )
            print()


if __name__ == "__main__":
    main()
