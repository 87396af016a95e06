"""The study ``profile``: which channels of the shared layers a finished run has left (Less is More, Fig. 3)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor
from torch.nn.modules.conv import _ConvTransposeNd  # pyright: ignore[reportPrivateUsage]

from secateur.problem import Problem, prunable
from secateur.runs.folder import RunFolder
from secateur.runs.kept import load_weights
from secateur.runs.names import Trust
from secateur.runs.problems import read_problem
from secateur.runs.report import RunRecord, percent
from secateur.runs.studies.drawing import lines
from secateur.runs.studies.looked import Look


def profile_of(records: Sequence[RunRecord], titles: Sequence[str], trust: Trust | None) -> Look:
    """Input channels that are left in each shared layer, a column for each run."""
    counted = [_channels(record.folder, trust) for record in records]
    layers = list(dict.fromkeys(name for found in counted for name in found))
    rows = [
        (name, *(f"{found[name][0]} of {found[name][1]}" if name in found else "" for found in counted))
        for name in layers
    ]
    shares = [
        "all",
        *(percent(sum(k for k, _ in f.values()) / sum(n for _, n in f.values())) for f in counted),
    ]
    series = {
        title: [(float(place), found[n][0] / found[n][1]) for place, n in enumerate(layers) if n in found]
        for title, found in zip(titles, counted, strict=True)
    }
    drawn = lines(
        series,
        "profile",
        "Input channels left in each shared layer",
        x="",
        y="share of input channels that any weight reads",
        ticks=layers,
    )
    figures = {
        title: {name: {"kept": kept, "channels": total} for name, (kept, total) in found.items()}
        for title, found in zip(titles, counted, strict=True)
    }
    note = "Input channels of each shared layer that have a weight left, of how many; the group of Less is More. Of layers with groups, those of a group."
    return Look(("layer", *titles), (*rows, tuple(shares)), (note,), figures, {"profile": drawn})


def _channels(path: Path, trust: Trust | None) -> dict[str, tuple[int, int]]:
    """Layer that several tasks share to its input channels that are not all zero, and to how many there are."""
    folder = RunFolder(path)
    problem, _ = read_problem(folder, trust)
    before = _inputs_first(problem)  # of `secateur prune` that of the network that it cut
    load_weights(problem.model, folder.weights)
    left = _inputs_first(problem)
    return {
        name: (int(left[name].flatten(1).any(1).sum()) if name in left else 0, len(whole))
        for name, whole in before.items()
    }


def _inputs_first(problem: Problem) -> dict[str, Tensor]:
    """The weights that several tasks share, of one task all, each with its input channels first."""
    weights = {n: p.detach() for n, p in prunable(problem.model).items() if p.dim() > 1}
    shared = {n: p for n, p in weights.items() if len(problem.owners[n]) > 1} or weights
    turned = {f"{n}.weight" for n, m in problem.model.named_modules() if isinstance(m, _ConvTransposeNd)}
    return {n: weight if n in turned else weight.transpose(0, 1) for n, weight in shared.items()}
