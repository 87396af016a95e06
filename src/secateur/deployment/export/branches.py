"""The other ways through a model's code: where sizes decide, what it does elsewhere is traced too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.export import Dim

from secateur.deployment.export.decided import Branch, branch, said, same
from secateur.deployment.export.tracing import Traced, written
from secateur.deployment.export.trials.sizes import REFUSED, nearest, numbers_in, within

Judge = Callable[[Sequence[Tensor], Mapping[str, Tensor], str], bool]
_WAYS = 12  # that are traced before a model is believed to have too many
_PROBES = 64  # sizes that the numbers of two traces are compared at


def check_branches(traced: Traced, judge: Judge, largest: Sequence[Sequence[int]] | None = None) -> None:
    """Looks for sizes at which the model's code does something else than was traced.

    The model is run at a size outside of what was traced, and what it does there is traced, until the sizes that are tried lie within a
    known trace each. The file may vary if all traces are the same operations. One that is not fixes the size, even where it
    predicts the same at the sizes tried, since it may not at others; but for what the engine refuses, and for a shortcut at single sizes
    (no padding where there is nothing to pad), which is compared near, in the middle and far.

    Args:
        traced: What the file was made of.
        judge: Of inputs, the model's predictions and the condition that does not hold, whether the file predicts the same; False
            where the engine refuses the inputs. Raises ValueError where it predicts something else.
        largest: Size of each input that the file takes at most.

    Raises:
        ValueError: If the model's code goes another way somewhere; the message names the condition that decides it.
    """
    if traced.way.held:
        _Search(traced, judge, largest).run()


@dataclass
class _Search:
    traced: Traced
    judge: Judge
    largest: Sequence[Sequence[int]] | None
    known: list[Branch] = field(default_factory=list[Branch])
    refused: Counter[tuple[Any, ...]] = field(default_factory=Counter[tuple[Any, ...]])
    met: set[Any] = field(
        default_factory=set[Any]
    )  # conditions of which it is known what the model does without
    far: set[Any] = field(default_factory=set[Any])  # that fail for inputs too large to try

    def run(self) -> None:
        self.trials, self.now = self.traced.trials, self.traced.trials.now
        self.known, numbers = [self.traced.way], set[int]()
        while True:
            self.pool = [one for one in nearest(self.now, numbers) if within(self.trials, one, self.largest)]
            for sizes in self.pool:
                self._look(sizes)
            more = numbers_in(said(one) for way in self.known for one in way.held)
            if more <= numbers:
                break
            numbers |= more
        for one in sorted(self.far - self.met, key=str):
            raise ValueError(
                f"export: the network may go another way where {said(one)} does not hold, which is for larger inputs than are tried"
            )

    def _look(self, sizes: dict[str, int]) -> None:
        broken = [way.broken(self.now | sizes) for way in self.known]
        if not all(broken):
            return
        key = tuple(one for conditions in broken for one in conditions)
        if self.refused[key] >= REFUSED:
            return
        if not self.trials.fits(sizes):
            self.far.update(broken[0])
            return
        found = self.trials.run(sizes)
        if found is None:
            self.refused[key] += 1
            self.met.update(broken[0])
            return
        if len(self.known) > _WAYS:
            raise ValueError(
                f"export: the model's code decides by sizes in many ways, such as {_words(broken[0])}"
            )
        takes = self.judge(*found, _words(broken[0]))
        way = self._traced(sizes)
        self.known.append(way)
        self.met.update(broken[0])
        mine = [one for one in self.pool if not way.broken(self.now | one)][:_PROBES]
        if not same(self.traced.way, way, [self.now | one for one in (sizes, *mine)]):
            self._another(takes, broken[0], way)

    def _traced(self, sizes: dict[str, int]) -> Branch:
        """What the model does at ``sizes``; with a batch of two, unless a batch of one decides it."""
        import sympy

        network, shapes = self.traced.network, self.traced.shapes
        twice = {name: 2 for name, size in self.now.items() if name.startswith("batch") and size == 1} | sizes
        if not all(way.broken(self.now | twice) for way in self.known):
            twice = sizes
        varying = [
            {axis: Dim.AUTO for axis, name in enumerate(shape) if isinstance(name, str)}
            for shape in shapes.values()
        ]
        try:
            return branch(*written(network, self.trials.resized(twice), varying), shapes)
        except Exception:  # it can be run there, and not traced
            point = (self.now | sizes).items()
            held = [sympy.Eq(sympy.Symbol(name, integer=True, positive=True), size) for name, size in point]
            return Branch(None, tuple(held), {})

    def _another(self, takes: bool, broken: Sequence[Any], way: Branch) -> None:
        """Raises ValueError if ``way``, which is not what was traced, fixes a size."""
        import sympy

        single = all(isinstance(one, sympy.Ne) for one in broken)
        if single or not takes:
            mine = [one for one in self.pool if not way.broken(self.now | one)]
            far = next((i for i in reversed(range(len(mine))) if self.trials.fits(mine[i])), -1)
            for sizes in (mine[far // 2], mine[far]) if far >= 0 else ():
                found = self.trials.run(sizes) if self.trials.fits(sizes) else None
                takes |= found is not None and self.judge(*found, _words(broken))
        if takes and not single:
            raise ValueError(
                f"export: the model's code goes another way where {_words(broken)} does not hold, which the file does not follow"
            )


def _words(broken: Sequence[Any]) -> str:
    return " and ".join(said(one) for one in broken)
