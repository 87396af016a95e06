"""What Torch-Pruning can remove from public networks, and how much of it compact removes.

    python benchmarks/reliability/removable.py            all, each in a process of its own
    python benchmarks/reliability/removable.py timm/dla34

Of every group of channels that Torch-Pruning finds, a random half is made dead (zero). A group counts where the network
that Torch-Pruning cuts runs and computes what the dead one does; of those together, the parameters that Torch-Pruning
removes are compared with those that compact removes. Where Torch-Pruning finds nothing that it can remove, or does not end in half of the time, a
random half of what each layer reads is made dead instead, and there is no share. It needs timm, segmentation-models-pytorch and transformers; no
weights are downloaded. Writes docs/results/removable.json (networks that
are in it are not run again) and the table in docs/reliability.md.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import multiprocessing
import re
import resource
import signal
import time
import warnings
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import nn

from removable_networks import networks
from removable_theirs import dead_copy, groups, halved, outputs, possible, pruned, same
from secateur import compact, compaction
from secateur.runs.hardware import hardware

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results" / "removable.json"
LIBRARIES = ("torch", "torchvision", "torch-pruning", "timm", "segmentation-models-pytorch", "transformers")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- removable: written by benchmarks/reliability/removable.py -->", "<!-- end of removable -->"
SEED = 0


def main() -> None:
    """Runs all that is not in the file yet, or the one that is named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="of networks; all where none is given")
    parser.add_argument("--seconds", type=int, default=600, help="of processor time, for one network")
    options = parser.parse_args()
    missing = [name for name in LIBRARIES if not _version(name)]
    if missing:
        raise SystemExit(f"This needs {', '.join(missing)}; install with: pip install {' '.join(missing)}")
    for name in LIBRARIES:
        importlib.import_module(name.replace("-", "_"))
    made: dict[str, Any] = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {"networks": {}}
    made |= {
        "command": "python benchmarks/reliability/removable.py",
        "seed": SEED,
        "hardware": hardware(torch.device("cpu")),
    }
    made["versions"] = {name: _version(name) for name in LIBRARIES}
    for name in options.names or networks():
        if options.names or name not in made["networks"]:
            made["networks"][name] = _apart(name, options.seconds)
            RESULTS.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    PAGE.write_text(
        f"{before}{BEGIN}\n{table(made['networks'])}{END}{rest.partition(END)[2]}", encoding="utf-8"
    )


def table(found: dict[str, Any]) -> str:
    """A row for each library: outcomes, and the mean and the least share that compact removes."""
    lines = [
        "| networks of | tried | exact | wrong | refused | crashed | nothing to compare | mean share | least share |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    measured = {name: one for name, one in found.items() if one["outcome"] != "not measured"}
    for library in dict.fromkeys(name.partition("/")[0] for name in measured):
        own = {n: one for n, one in measured.items() if n.startswith(f"{library}/")}
        count = Counter(one["outcome"] for one in own.values())
        shares = {n: one["share"] for n, one in own.items() if "share" in one}
        counts = [count[kind] for kind in ("exact", "wrong", "refused", "crashed")]
        counts.append(sum("theirs" not in one for one in own.values()))
        worst = min(shares, key=lambda n: shares[n], default="")
        mean = f"{100 * sum(shares.values()) / len(shares):.1f} %" if shares else ""
        low = f"{100 * shares[worst]:.1f} % ({worst.partition('/')[2]})" if shares else ""
        lines.append(f"| {' | '.join(map(str, (library, len(own), *counts, mean, low)))} |")
    return "\n".join(lines) + "\n"


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _apart(name: str, seconds: int) -> dict[str, Any]:
    """Measured in a process of its own, which has what was imported here."""
    context = multiprocessing.get_context("fork")
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_sent, args=(name, seconds, theirs))
    process.start()
    theirs.close()
    try:
        return mine.recv()
    except EOFError:
        process.join()
        return {"outcome": "not measured", "reason": f"it ended with {process.exitcode}"}
    finally:
        process.kill()
        process.join()


def _sent(name: str, seconds: int, end: Connection) -> None:
    signal.signal(signal.SIGXCPU, _over)
    signal.signal(signal.SIGVTALRM, _over)
    used = int(time.process_time())
    resource.setrlimit(resource.RLIMIT_CPU, (used + seconds, used + seconds + 60))
    try:
        end.send(measured(name, seconds / 2))
    except _OverError:
        end.send({"outcome": "not measured", "reason": f"{seconds} s"})
    except Exception as error:  # of the libraries
        end.send({"outcome": "not measured", "reason": f"{type(error).__name__}: {error}"[:300]})


class _OverError(BaseException):
    """It takes too long; not an error that what goes on without a group may catch."""


def _over(number: int, _: object) -> None:
    signal.signal(number, signal.SIG_IGN)  # once
    raise _OverError


def _theirs(model: nn.Module, x: Any, seconds: float, found: dict[str, Any]) -> nn.Module:
    """The network with groups of Torch-Pruning's dead, and what it removes; or, where it removes nothing, another half."""
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        cuts = groups(model, x, SEED)
        found["groups"] = len(cuts)
        kept = possible(model, x, cuts)
        found["possible"] = len(kept)
        if kept:
            dead = dead_copy(model, kept)
            found["theirs"] = _size(model) - _size(pruned(dead, x, kept))
            return dead
    except _OverError:
        found["unread"] = "Torch-Pruning had not ended in its half of the time"
    except Exception as error:
        found["unread"] = f"Torch-Pruning: {type(error).__name__}: {error}"[:300]
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return halved(model, SEED)


@torch.no_grad()
def measured(name: str, seconds: float = 300) -> dict[str, Any]:
    """Outcome, parameters before and removed by each, and what compact says of the rest; ``seconds`` of Torch-Pruning."""
    warnings.simplefilter("ignore")
    torch.manual_seed(SEED)
    model, x = networks()[name]()
    model, x = _lively(model.eval()).double(), _double(x)
    _calibrate(model, x)
    found: dict[str, Any] = {"parameters": _size(model)}
    dead = _theirs(model, x, seconds, found)
    try:
        small = compact(dead, x)
    except ValueError as error:
        return found | {"outcome": "refused", "reason": str(error)[:500]}
    except Exception as error:
        return found | {"outcome": "crashed", "reason": f"{type(error).__name__}: {error}"[:500]}
    found["ours"] = _size(model) - _size(small)
    if "theirs" in found:
        found["share"] = round(min(1.0, found["ours"] / found["theirs"]), 4)
    y = _other(x)
    exact = same(outputs(dead, y), outputs(small, y))
    record = compaction(small)
    assert record is not None
    worst = sorted(record.pinned.items(), key=lambda item: -item[1])[:8]
    found["pinned"] = {re.sub(r"/\S*site-packages/", "", why): count for why, count in worst}
    return found | {"outcome": "exact" if exact else "wrong"}


def _lively(model: nn.Module) -> nn.Module:
    """Statistics and scales as after a training, so that nothing is dead, or all but so, by its initial value.

    Attention with weights of 0.02 is the mean of its values but for a millionth: what cuts it wrong would pass.
    """
    draw = torch.Generator().manual_seed(SEED)
    for name, value in [*model.named_parameters(), *model.named_buffers()]:
        if "running_var" in name:
            value.data.uniform_(0.5, 1.5, generator=draw)
        elif "running_mean" in name:
            value.data.normal_(0, 0.1, generator=draw)
        elif value.is_floating_point() and (value.dim() == 1 or not value.any()):
            norm = value.dim() == 1 and name.endswith("weight")
            one = norm and float(value.abs().mean()) < 0.1  # it begins near zero, and nothing goes through
            value.data += one + 0.1 * torch.randn(value.shape, generator=draw)
        if value.is_floating_point() and value.dim() > 1:
            small = float(value.std()) * value[0].numel() ** 0.5
            value.data *= 1 / small if 0 < small < 0.5 else 1.0
    return model


def _calibrate(model: nn.Module, x: Any) -> None:
    """Statistics of BatchNorm that fit, without which outputs of a deep network hardly depend on its input."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.training, norm.momentum = norm.running_var is not None, 1.0
    with contextlib.suppress(ValueError):  # of one value a channel
        model(x)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.training, norm.momentum = False, momentum
        if norm.running_var is not None:
            norm.running_var.clamp_(0.1, 10.0)


def _size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def _double(x: Any) -> Any:
    if isinstance(x, dict):
        return {key: _double(value) for key, value in x.items()}
    return x.double() if x.is_floating_point() else x


def _other(x: Any) -> Any:
    if isinstance(x, dict):
        return {key: _other(value) for key, value in x.items()}
    return torch.randn_like(x) if x.is_floating_point() else x.flip(1)


if __name__ == "__main__":
    main()
