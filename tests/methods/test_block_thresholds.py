"""Methods that train under thresholds, in blocks: whole blocks to the density asked, refusals, and what a checkpoint knows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from problems import two_heads
from secateur import GradualMagnitude, LearnedThreshold, SoftThreshold, fit
from secateur.problem.components import prunable
from secateur.problem.problem import Problem
from secateur.pruning import DensityError, Thresholded
from secateur.pruning.pattern import Pattern
from secateur.runs.config import build, parse, recipes, resolved

Make = Callable[[float, str], Thresholded]
MAKE: dict[str, Make] = {
    "garrote": lambda d, p: SoftThreshold(d, pattern=p),
    "soft": lambda d, p: SoftThreshold(d, shrinkage="soft", pattern=p),
    "feather": lambda d, p: SoftThreshold(
        d, "all", (0.0, 0.5), "feather", "common", pattern=p, freeze=1.0, below=0.5
    ),
    "rescaled": lambda d, p: SoftThreshold(d, "all", shrinkage="rescaled", allocation="common", pattern=p),
    "published_gradient": lambda d, p: SoftThreshold(d, shrinkage="soft", straight_through=False, pattern=p),
    "scale": lambda d, p: SoftThreshold(d, allocation="scale", at_least=6, pattern=p),
    "cyclic": lambda d, p: SoftThreshold(d, pattern=p, cycles=2),
    "controller": lambda d, p: LearnedThreshold(d, pressure="controller", pattern=p),
    "str": lambda d, p: LearnedThreshold(d, "layer", -6.0, "controller", pattern=p),
    "l1_density": lambda d, p: LearnedThreshold(d, pressure="l1_density", initial=-6.0, pattern=p),
}
every = pytest.mark.parametrize("make", MAKE.values(), ids=MAKE.keys())
pytestmark = pytest.mark.filterwarnings("ignore:LearnedThreshold. the thresholds")


def kept_shares(problem: Problem, pattern: Pattern) -> list[torch.Tensor]:
    """Of each layer the share of each block that is there."""
    return [pattern.pooled((w != 0).float()) for w in prunable(problem.model).values()]


@every
@pytest.mark.parametrize(
    "text", ["4x1", "1x4", *(pytest.param(text, marks=pytest.mark.slow) for text in ("2x1", "3x2"))]
)
def test_whole_blocks_survive_at_the_density_asked(make: Make, text: str) -> None:
    """The heads have 5 and 1 outputs and the trunk reads 3 channels, so blocks at the borders are smaller."""
    problem, method, pattern = two_heads(width=40), make(0.1, text), Pattern.parse(text)
    fit(problem, method, steps=30)
    weights = prunable(problem.model)
    size = sum(w.numel() for w in weights.values())
    kept = sum(int(w.count_nonzero()) for w in weights.values())
    assert abs(kept - 0.1 * size) <= pattern.unit / 2
    shares = kept_shares(problem, pattern)
    assert all(((share == 0) | (share > 1 - 1e-6)).all() for share in shares)
    assert any(w.shape[0] % pattern.rows or w.shape[1] % pattern.columns for w in weights.values())
    assert all(int(w.count_nonzero()) >= min(method.at_least, w.numel()) for w in weights.values())
    assert not method.missed()


@every
def test_on_the_way_too_blocks_are_whole(make: Make) -> None:
    """What layers compute with in the middle of the ramp has whole blocks, and falls with the schedule."""
    problem, method, pattern, seen = two_heads(width=40), make(0.2, "4x1"), Pattern.parse("4x1"), []

    class Watch(type(method)):
        def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
            super().after_step(step, optimizer)
            values = [problem.model.get_submodule(n.rpartition(".")[0]).weight for n in self.weights]
            shares = [pattern.pooled((v.detach() != 0).float()) for v in values]
            assert all(((share == 0) | (share > 1 - 1e-6)).all() for share in shares)
            seen.append(sum(int(v.count_nonzero()) for v in values))

    method.__class__ = Watch
    fit(problem, method, steps=30)
    assert seen[-1] < seen[0]
    if isinstance(method, SoftThreshold):
        assert len(set(seen)) > 10


@pytest.mark.parametrize("make", [SoftThreshold, LearnedThreshold])
def test_blocks_of_one_weight_are_single_weights(make: type[Thresholded]) -> None:
    plain, same = two_heads(), two_heads()
    fit(plain, make(0.2), steps=20)
    fit(same, make(0.2, pattern="1x1"), steps=20)
    assert all(
        torch.equal(a, b) for a, b in zip(plain.model.parameters(), same.model.parameters(), strict=True)
    )


def test_a_layer_that_would_die_keeps_a_block() -> None:
    problem = two_heads(width=40)
    with torch.no_grad():
        problem.model.shade[0].weight.mul_(1e-4)
    fit(problem, SoftThreshold(0.05, "all", allocation="common", pattern="4x1"), steps=12)
    assert problem.model.shade[0].weight.count_nonzero() == 4


@pytest.mark.parametrize("make", [SoftThreshold, LearnedThreshold])
def test_what_blocks_cannot_have_is_refused(make: type[Thresholded]) -> None:
    with pytest.raises(
        ValueError, match=r"pattern is '2:4'; .* blocks\. Give 'unstructured' .* GradualMagnitude"
    ):
        make(0.1, pattern="2:4")
    with pytest.raises(ValueError, match="pattern is '4by1'"):
        make(0.1, pattern="4by1")
    problem = two_heads()
    with pytest.raises(DensityError, match="at least 40 weights a layer and this pattern"):
        fit(problem, make(0.05, at_least=40, pattern="4x1"), steps=4)


@pytest.mark.parametrize("recipe", recipes())
def test_every_recipe_of_thresholds_takes_a_pattern(recipe: str) -> None:
    if resolved(parse([recipe]))["method"]["name"] not in {"SoftThreshold", "LearnedThreshold"}:
        return
    for text, pattern in (("4x1", Pattern(4, 1)), ("1x4", Pattern(1, 4)), ("2x1", Pattern(2, 1))):
        method = build("method", resolved(parse([recipe, "--method.pattern", text])))
        assert isinstance(method, Thresholded)
        assert method.pattern == pattern


@pytest.mark.parametrize("make", [SoftThreshold, GradualMagnitude])
def test_a_checkpoint_of_another_pattern_is_refused(make: type, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    fit(two_heads(), make(0.2, pattern="4x1"), steps=6, checkpoint=path)
    for other in ("2x1", "unstructured"):
        with pytest.raises(ValueError, match=r"method\.pattern\.rows is 4 there and (2|None) here"):
            fit(two_heads(), make(0.2, pattern=other), steps=6, checkpoint=path)
