"""DiSparse (Sun et al. 2022, arXiv 2206.04662): scores of each task, and what goes goes by all tasks' consent."""

from __future__ import annotations

from typing import Literal

from secateur.pruning import AtOnce, Pattern, check_worth, scores, select


class DiSparse(AtOnce):
    """Each task scores the weights that it owns and keeps the same share of them; a weight goes if all its owners let it go.

    Who owns what is read off the autograd graph, so any sharing of layers will do. The keep ratio of the tasks is the one
    that comes to exactly the density asked (:func:`secateur.pruning.scores.unanimous`).

    Args:
        density: Kept fraction of the prunable weights, in (0, 1]; 1 is dense training.
        score: ``"snip"``: |w|·Σ|g| over batches (the static variant); ``"magnitude"``: |w|, and ``"taylor"``: w²·Σ|g| (the
            pretrained variants); g is the gradient of the task's own loss, unweighted.
        batches: Training batches that gradients are summed over, or all where there are fewer.
        at: Share of the steps at which it happens: 0 is before training (static), otherwise the network is trained until
            then (pretrained) and goes on with what is left.
        redraw: Scores with Xavier-normal weights in place of the initial ones (static, as published); by gradients only.
        pattern: What shape survives.
        seed: Of redrawn weights.
        at_least: Weights that every layer keeps, so that none dies.

    Raises:
        ValueError: If a setting is out of range, the density out of reach, a task has no labels in the batches, or its
            gradient or all of its scores are zero (in ``start``, or at the step where it is scored).
    """

    def __init__(
        self,
        density: float = 0.1,
        score: Literal["snip", "magnitude", "taylor"] = "snip",
        *,
        batches: int = 50,
        at: float = 0.0,
        redraw: bool = False,
        pattern: str = "unstructured",
        seed: int = 0,
        at_least: int = 1,
    ) -> None:
        super().__init__(density, at)
        if batches < 1:
            raise ValueError(f"batches is {batches}; a score needs at least 1.")
        scores.check_redraw(redraw, score)
        self.score: Literal["snip", "magnitude", "taylor"] = score
        self.batches = batches
        self.redraw = redraw
        self.pattern = Pattern.parse(pattern)
        self.seed = seed
        self.at_least = at_least

    def _scores(self) -> scores.Scores:
        with scores.redrawn(self.weights if self.redraw else {}, self.seed):
            found = scores.task_scores(self.problem, self.weights, self.score, self.batches)
        check_worth(type(self).__name__, found)
        return scores.unanimous(found, self.weights)

    def _select(self, found: scores.Scores) -> scores.Scores:
        return select(found, self.density, pattern=self.pattern, at_least=self.at_least)
