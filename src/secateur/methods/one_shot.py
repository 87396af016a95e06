"""One-shot pruning: SNIP (Lee et al. 2019, arXiv 1810.02340), Taylor, magnitude or random scores, once."""

from __future__ import annotations

from typing import Literal

from secateur.problem import Problem, components
from secateur.pruning import AtOnce, Distribution, Pattern, Quotas, scores, select


class OneShot(AtOnce):
    """Scores all weights once, keeps the best, and trains on with that mask.

    Args:
        density: Kept fraction of the prunable weights, in (0, 1]; 1 is dense training.
        score: ``"snip"``: |g·w|; ``"taylor"``: (g·w)²; ``"magnitude"``: |w|; ``"random"``. Of single weights the first two, at the same
            time and over the same batches, keep the same; blocks have the mean of theirs, so there they differ.
        distribution: How much where: ``"global"``, ``"uniform"`` per layer, ``"erk"``, the same per ``"component"``, or
            ``{component: density}``: a component's own density, exactly; components that are not named share what is left of
            ``density``, and where all are named they must come to it. Components are those of ``components(problem)``:
            backbone and heads.
        pattern: What shape survives: ``"unstructured"``, N:M such as ``"2:4"``, or a block such as ``"1x4"``.
        batches: Training batches that gradients are averaged over.
        at: Share of the steps at which it happens; 0 is before training.
        redraw: Scores with Xavier-normal weights in place of the initial ones, which the mask is then applied to; by gradients only.
        seed: Of random scores and redrawn weights.
        at_least: Weights that every layer keeps, so that none dies.

    Raises:
        ValueError: If a setting is out of range, or the density out of reach under them (in ``start``); if scores are so much the
            same that most of what stays would be chosen by its place. A warning names layers in which all are.
    """

    def __init__(
        self,
        density: float = 0.1,
        score: Literal["snip", "taylor", "magnitude", "random"] = "snip",
        *,
        distribution: Distribution | Quotas = "global",
        pattern: str = "unstructured",
        batches: int = 1,
        at: float = 0.0,
        redraw: bool = False,
        seed: int = 0,
        at_least: int = 1,
    ) -> None:
        super().__init__(density, at)
        if batches < 1:
            raise ValueError(f"batches is {batches}; a score needs at least 1.")
        scores.check_redraw(redraw, score)
        self.score: Literal["snip", "taylor", "magnitude", "random"] = score
        self.distribution: Distribution | Quotas = distribution
        self.pattern = Pattern.parse(pattern)
        self.batches = batches
        self.redraw = redraw
        self.seed = seed
        self.at_least = at_least

    def start(self, problem: Problem, steps: int) -> None:
        """Prunes, if it is to happen before training."""
        self._components = components(problem)  # now: a layer may be frozen on the way
        super().start(problem, steps)

    def _scores(self) -> scores.Scores:
        match self.score:
            case "magnitude":
                return scores.magnitude(self.weights)
            case "random":
                return scores.random(self.weights, self.seed)
            case "snip" | "taylor":
                rule = scores.saliency if self.score == "snip" else scores.taylor
                with scores.redrawn(self.weights if self.redraw else {}, self.seed):
                    return rule(self.weights, scores.gradients(self.problem, self.weights, self.batches))

    def _select(self, found: scores.Scores) -> scores.Scores:
        return select(
            found,
            self.density,
            distribution=self.distribution,
            components=self._components,
            pattern=self.pattern,
            at_least=self.at_least,
        )
