"""Whether output channels in a better order would make blocks that pay: zeros that two or four successive outputs share.

    python benchmarks/speed/permuted_blocks.py [--trained FILE]

Of each convolution of a network, in any order of its outputs at all (more than an exported file may have): how many places
its 2x1 and 4x1 blocks store for each weight that is not zero, as the outputs stand and in the best order that a greedy search
finds (largest overlap first, then exchanges), and the milliseconds that the runtime's cost model expects, 240x320, one thread.
The runtime brings outputs together by itself since (scattered_blocks.py measures it); here it is told not to.
`--trained`: weights of a pruned Deeplab-ResNet34 of width 0.125 (`secateur train adapmtl`). Writes docs/results/permuted_blocks.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import secateur_runtime
from secateur import load
from secateur.deployment.bench.machine import machine, versions
from secateur.zoo import deeplab_resnet34

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"
HEADS = {"seg": 13, "normal": 3, "depth": 1}
Layer = tuple[
    np.ndarray, nn.Conv2d, tuple[int, ...]
]  # weights (outputs, inputs, k, k), its settings, size of its input


def layers(model: nn.Module) -> list[Layer]:
    """Each convolution but the first, with the size of what goes in at 240x320."""
    found: list[Layer] = []

    def note(layer: nn.Module, x: Any, y: Any) -> None:
        assert isinstance(layer, nn.Conv2d)
        found.append((layer.weight.detach().numpy(), layer, tuple(x[0].shape)))

    held = [m.register_forward_hook(note) for m in model.modules() if isinstance(m, nn.Conv2d)]
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, 240, 320))
    for hook in held:
        hook.remove()
    return found[1:]


def paired(union: np.ndarray) -> list[tuple[int, int]]:
    """Rows of a mask (n, places) in twos that share as many places as can be: greedily, then by exchanges; n is even."""
    n = len(union)
    shared = union.astype(np.float32) @ union.T.astype(np.float32)
    upper = np.triu_indices(n, 1)
    partner = np.full(n, -1)
    for at in np.argsort(-shared[upper], kind="stable"):
        a, b = upper[0][at], upper[1][at]
        if partner[a] < 0 and partner[b] < 0:
            partner[a], partner[b] = b, a
    pairs = np.array([(a, partner[a]) for a in range(n) if a < partner[a]])
    for _ in range(20 * n):
        a, b = pairs.T
        now = shared[a, b]
        straight, crossed = (
            shared[a[:, None], a] + shared[b[:, None], b],
            shared[a[:, None], b] + shared[b[:, None], a],
        )
        gain = np.maximum(straight, crossed) - now[:, None] - now
        np.fill_diagonal(gain, 0)
        i, k = np.unravel_index(int(gain.argmax()), gain.shape)
        if gain[i, k] <= 0:
            break
        (p, q), (r, s) = pairs[i], pairs[k]
        pairs[i], pairs[k] = ((p, r), (q, s)) if straight[i, k] >= crossed[i, k] else ((p, s), (q, r))
    return [(int(a), int(b)) for a, b in pairs]


def order(weights: np.ndarray) -> list[int]:
    """The outputs in an order whose twos and fours share zeros; what four do not divide stays at the end."""
    mask = (weights != 0).reshape(len(weights), -1)
    whole = len(mask) // 4 * 4
    if not whole:
        return list(range(len(mask)))
    twos = paired(mask[:whole])
    fours = paired(np.stack([mask[a] | mask[b] for a, b in twos]))
    return [channel for pair in fours for two in pair for channel in twos[two]] + list(
        range(whole, len(mask))
    )


def stored(weights: np.ndarray, rows: int) -> int:
    """Places that blocks of so many successive outputs store."""
    mask = (weights != 0).reshape(len(weights), -1)
    return sum(int(mask[at : at + rows].any(0).sum()) * rows for at in range(0, len(mask), rows))


def expected(weights: np.ndarray, layer: nn.Conv2d, size: tuple[int, ...], together: bool = False) -> float:
    """Milliseconds that the cost model expects of the layer, ours or dense, whichever is less; `together`: in the runtime's order."""
    (pad, _), stride, dilation = layer.padding, layer.stride, layer.dilation
    node = helper.make_node(
        "Conv", ["x", "w"], ["y"], strides=stride, dilations=dilation, pads=[int(pad)] * 4, group=layer.groups
    )
    graph = helper.make_graph(
        [node],
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, size)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ascontiguousarray(weights), "w")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    options = {"force": 1, "order": int(not together)}
    session = secateur_runtime.session(made.SerializeToString(), threads=1, strict=True, options=options)
    (found,) = secateur_runtime.report(session).layers
    return min(found.expected, found.dense)


def measured(network: list[Layer]) -> dict[str, float]:
    """Of a whole network: density, places stored for each nonzero, and expected milliseconds, before and after."""
    total: dict[str, float] = {}
    better = 0
    for weights, layer, size in network:
        if layer.groups > 1 or not weights.any():
            continue
        best = weights[order(weights)]
        ms = expected(weights, layer, size), expected(best, layer, size)
        better += ms[1] < 0.97 * ms[0]
        numbers = {
            "weights": weights.size, "nonzeros": int((weights != 0).sum()), "2x1": stored(weights, 2), "4x1": stored(weights, 4),
            "2x1 permuted": stored(best, 2), "4x1 permuted": stored(best, 4), "ms": ms[0], "ms permuted": min(ms),
        }  # fmt: skip
        for name, number in numbers.items():
            total[name] = total.get(name, 0) + number
    nonzeros = total.pop("nonzeros")
    found = {name: total[name] / nonzeros for name in total if "x1" in name}
    return {
        "density": nonzeros / total["weights"], **found, "layers faster by 3 % or more": better,
        **{name: total[name] for name in ("ms", "ms permuted")},
    }  # fmt: skip


def random(density: float, rows: int = 1, cut: float | None = None) -> list[Layer]:
    """Full width with random zeros; outputs of blocks are shuffled, or a random share of them is cut out."""
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    found: list[Layer] = []
    for weights, layer, size in layers(deeplab_resnet34(HEADS)):
        kept = rng.random((-(-len(weights) // rows), *weights.shape[1:])) < density
        pruned = weights * kept.repeat(rows, 0)[: len(weights)]
        if cut is not None:
            pruned = pruned[rng.random(len(pruned)) >= cut]
        elif rows > 1:
            pruned = pruned[rng.permutation(len(pruned))]
        found.append((pruned, layer, size))
    return found


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--trained", type=Path, help="weights of an AdapMTL Deeplab-ResNet34 of width 0.125")
    given = parser.parse_args()
    networks = {f"random {1 - density:.0%}": random(density) for density in (0.2, 0.1, 0.05)}
    networks["blocks 4x1 90%, shuffled"] = random(0.1, 4)
    networks |= {f"blocks 4x1 90%, {cut:.0%} of outputs cut": random(0.1, 4, cut) for cut in (0, 0.02, 0.1)}
    if given.trained:
        model = deeplab_resnet34(HEADS, width=0.125)
        load(model, given.trained)
        networks["trained adapmtl 90%, width 0.125"] = layers(model)
    results: dict[str, Any] = {}
    for name, network in networks.items():
        results[name] = measured(network)
        print(name, {key: round(value, 3) for key, value in results[name].items()}, flush=True)
    what = {
        "command": "python benchmarks/speed/permuted_blocks.py --trained FILE",
        "machine": machine(),
        "versions": versions(),
    }
    (RESULTS / "permuted_blocks.json").write_text(json.dumps({**what, "networks": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
